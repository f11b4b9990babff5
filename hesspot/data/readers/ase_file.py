"""Extended XYZ and everything else that ASE reads."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io.formats import UnknownFileTypeError

from hesspot.data.readers.keys import find_keys, usual_keys
from hesspot.data.readers.options import Options, Units
from hesspot.data.readers.raw import Raw, numbers_of
from hesspot.data.record import TAG
from hesspot.electrons import stated_electrons
from hesspot.errors import UserError
from hesspot.structures import fixed_coordinates, iterate_structures

_LABELS = ("energy", "forces", "gradient", "hessian", "stress", "virial")


def read(path: Path, options: Options) -> Iterator[Raw]:
    """Structures of a file in a format that ASE knows.

    Labels are the calculator's results, else what ``info`` and ``arrays`` hold under a usual name or a given one.
    """
    units = options.units or Units()
    try:
        for i, atoms in enumerate(iterate_structures(path, options.ase_format)):
            yield _raw(atoms, f"structure {i} of {path}", f"{path.stem}_{i}", units, options)
    except UserError:
        raise
    except UnknownFileTypeError as error:
        raise UserError(f"{path} is in no format that is known: name it with --format") from error
    except Exception as error:  # ASE's readers raise whatever their parsing runs into
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} cannot be read, it is truncated or damaged ({reason}): fetch it again") from error


def _raw(atoms: Atoms, place: str, name: str, units: Units, options: Options) -> Raw:
    info = atoms.info
    keys, labels = _labels(atoms, place, options)
    _check_constraints(atoms, labels.get("forces"), place)
    texts = {"part": "part", "kind": "kind", "system": "system", "tag": TAG}
    stated = {field: str(info[key]) for field, key in texts.items() if info.get(key) not in (None, "")}
    properties = info.get("properties")
    charge, multiplicity = stated_electrons(atoms, place)
    return Raw(
        place,
        numbers_of(atoms.numbers, place),
        atoms.positions,
        str(info.get("name", name)),
        units,
        keys=keys,
        cell=atoms.cell.array,
        pbc=atoms.pbc,
        masses=atoms.get_masses() if atoms.has("masses") else None,
        charge=charge,
        multiplicity=multiplicity,
        level=str(info.get("level_of_theory", "")),
        properties=dict(properties) if isinstance(properties, dict) else {},
        directions=info.get("directions"),
        products=info.get("products"),
        **labels,
        **stated,
    )


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
    results = {key: value for key, value in getattr(atoms.calc, "results", {}).items() if key in _LABELS}
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
