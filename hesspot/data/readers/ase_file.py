"""Extended XYZ and everything else that ASE reads."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io.formats import UnknownFileTypeError, filetype

from hesspot.data.readers.convergence import require_converged
from hesspot.data.readers.keys import find_keys, unread, usual_keys
from hesspot.data.readers.options import Options, Units
from hesspot.data.readers.raw import Raw, numbers_of
from hesspot.data.record import TAG
from hesspot.electrons import CHARGE_KEYS, MULTIPLICITY_KEYS, SPIN_KEYS, stated_electrons
from hesspot.errors import UserError
from hesspot.structures import fixed_coordinates, iterate_structures

_LABELS = ("energy", "forces", "gradient", "hessian", "stress", "virial")
_TEXTS = {"part": "part", "kind": "kind", "tag": TAG, "system": "system", "name": "name", "level": "level_of_theory"}
#: Fields that `--keys` may name.
FIELDS = (*_LABELS, *_TEXTS, "charge", "multiplicity", "spin")

_ELECTRONS = {
    "charge": CHARGE_KEYS,
    "multiplicity": (*MULTIPLICITY_KEYS, *SPIN_KEYS),
    "spin": (*MULTIPLICITY_KEYS, *SPIN_KEYS),
}

#: Endings that say nothing, although ASE takes them for a program's.
_EVERYONES = (".dat", ".out", ".log", ".txt")

#: What a name of an array has in it that may be a label.
_LIKE_LABELS = re.compile("energ|force|grad|hess|stress|virial", re.IGNORECASE)


def read(path: Path, options: Options) -> Iterator[Raw]:
    """Structures of a file in a format that ASE knows.

    Labels are the calculator's results, else what ``info`` and ``arrays`` hold under a usual name or a given one.
    """
    units = options.units or Units()
    name = options.ase_format or "a format of its own"
    try:
        name = options.ase_format or filetype(str(path))
        require_converged(path, name)
        for i, atoms in enumerate(iterate_structures(path, options.ase_format, options.elements)):
            if name.startswith("lammps-dump") and atoms.calc is not None:
                atoms.calc.results.pop("energy", None)  # a dump has none, and ASE gives 0
            yield _raw(atoms, f"structure {i} of {path}", f"{path.stem}_{i}", units, options)
    except (UserError, UnknownFileTypeError):
        raise
    except Exception as error:  # ASE's readers raise whatever their parsing runs into
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if options.ase_format is None and path.suffix.lower() in _EVERYONES:
            raise UnknownFileTypeError(reason) from error
        remedy = "; give vasprun.xml of the same run" if name == "vasp-out" else ""
        raise UserError(
            f"{path} cannot be read by ASE as {name} ({reason}): it is of another format, which --format names, of a "
            f"version that ASE does not know, truncated or damaged{remedy}"
        ) from error


def _raw(atoms: Atoms, place: str, name: str, units: Units, options: Options) -> Raw:
    info = atoms.info
    keys, labels = _labels(atoms, place, options)
    _check_constraints(atoms, labels.get("forces"), place)
    named = _texts(info, place, options)
    texts = {field: str(info[key]) for field, key in named.items() if info.get(key) not in (None, "")}
    properties = info.get("properties")
    charge, multiplicity = _electrons(atoms, place, options)
    return Raw(
        place,
        numbers_of(atoms.numbers, place),
        atoms.positions,
        texts.pop("name", name),
        units,
        keys=keys,
        cell=atoms.cell.array,
        pbc=atoms.pbc,
        masses=atoms.get_masses() if atoms.has("masses") else None,
        charge=charge,
        multiplicity=multiplicity,
        properties=dict(properties) if isinstance(properties, dict) else {},
        directions=info.get("directions"),
        products=info.get("products"),
        notes=_unread(atoms, keys, options),
        **labels,
        **texts,
    )


def _texts(info: Mapping[str, Any], place: str, options: Options) -> dict[str, str]:
    """The key of each text in `info`: the given one, else the usual one."""
    given = [field for field in _TEXTS if field in options.keys]
    usual = {field: name for field, name in _TEXTS.items() if field not in given}
    return usual | find_keys(given, info, options.keys, place)


def _electrons(atoms: Atoms, place: str, options: Options) -> tuple[int | None, int | None]:
    """Charge and multiplicity as stated; a key that was given for one takes the place of all other statements of it."""
    given = [field for field in _ELECTRONS if field in options.keys]
    if not given:
        return stated_electrons(atoms, place)
    found = find_keys(given, atoms.info, options.keys, place)
    hidden = {name for field in given for name in _ELECTRONS[field]}
    bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    bare.info = {key: value for key, value in atoms.info.items() if str(key).lower() not in hidden}
    bare.info |= {field: atoms.info[name] for field, name in found.items()}
    return stated_electrons(bare, place)


def _unread(atoms: Atoms, keys: Mapping[str, str], options: Options) -> tuple[str, ...]:
    used = {*keys.values(), *options.keys.values(), *(name for field in _LABELS for name in usual_keys(field))}
    names = [str(name) for name in (*atoms.arrays, *atoms.info) if _LIKE_LABELS.search(str(name))]
    return unread(name for name in names if name not in used and name.lower() not in used)


def _check_constraints(atoms: Atoms, forces: Any, place: str) -> None:
    """UserError for forces that ASE has set to zero where a constraint holds the atoms: they are no labels."""
    if forces is None or not atoms.constraints:
        return
    held = fixed_coordinates(atoms, place)
    if held.any() and np.size(forces) == held.size and not np.reshape(forces, held.shape)[held].any():
        raise UserError(
            f"{place} has forces of zero on the atoms that a constraint holds, as ASE writes them: write the whole "
            "forces, atoms.get_forces(apply_constraint=False), or leave the structure out"
        )


def _labels(atoms: Atoms, place: str, options: Options) -> tuple[dict[str, str], dict[str, Any]]:
    """Keys and values of the labels, by field; UserError if results and a key disagree and none is chosen."""
    every = getattr(atoms.calc, "results", {})
    results = {key: value for key, value in every.items() if key in _LABELS}
    if "energy" in results and "free_energy" in every and "energy" not in options.keys:
        results["energy"] = every["free_energy"]  # of which forces are derivatives, and not of that without smearing
    stored = {**atoms.arrays, **atoms.info}
    for field, result in results.items():
        for key in [key for key in stored if key.lower() in usual_keys(field)]:
            if np.array_equal(result, stored[key]):
                del stored[key]
            elif field not in options.keys:
                raise UserError(f"{place} has {field} and {key}, which differ: choose with --keys {field}={key}")
    values = results | stored
    found = find_keys(_LABELS, values, options.keys, place)
    return found, {field: values[key] for field, key in found.items()}
