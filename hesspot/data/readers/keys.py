"""Names under which files keep their labels."""

from collections.abc import Iterable, Mapping
from functools import cache

from hesspot.electrons import CHARGE_KEYS, MULTIPLICITY_KEYS, SPIN_KEYS
from hesspot.errors import UserError

_PLAIN = {
    "energy": ("energy", "energies", "total_energy", "potential_energy", "e_tot", "u0", "e"),
    "forces": ("forces", "force", "f"),
    "gradient": ("gradient", "gradients", "grad", "grads", "total_gradient"),
    "hessian": ("hessian", "hessians", "hess"),
    "stress": ("stress",),
    "virial": ("virial", "virials"),
    "numbers": (
        *("numbers", "atomic_numbers", "z", "species", "elements", "symbols", "atomic_number", "atnums"),
        "nuclear_charges",
    ),
    "positions": ("positions", "coordinates", "coords", "coord", "pos", "r", "geometry", "xyz", "conformations"),
    "cell": ("cell", "box", "lattice"),
    "pbc": ("pbc",),
    "masses": ("masses", "mass"),
    "name": ("name", "names", "id", "ids"),
    "system": ("system", "systems", "formula"),
    "kind": ("kind", "kinds"),
    "tag": ("tag", "tags", "config_type", "config_types"),
    "part": ("part", "split"),
    "level": ("level_of_theory", "level"),
    "charge": CHARGE_KEYS,
    "multiplicity": MULTIPLICITY_KEYS,
    "spin": SPIN_KEYS,
    "counts": ("counts", "natoms", "n_atoms", "num_atoms"),
}
_SOURCES = ("ref", "dft", "qm")
#: What else stands before or after a field's name than the calculation that it is of.
_NO_SOURCES = ("free", "kinetic", "formation", "binding", "interaction", "dispersion", "units", "sigma")

#: Every field that a key can be given for.
FIELDS = tuple(_PLAIN)
#: Names in one sentence.
MOST_NAMED = 20
#: In the place of a key: the field is left out.
NONE = "none"
#: Two names of one label: where a key is given for one, the other is not looked for.
_SAME = {"forces": "gradient", "gradient": "forces", "stress": "virial", "virial": "stress"}


@cache
def usual_keys(field: str) -> frozenset[str]:
    """Lower-case names under which a field is looked for: `forces`, `ref_forces`, `forces_dft`, …"""
    plain = _PLAIN[field]
    marked = [f"{source}_{name}" for source in _SOURCES for name in plain]
    return frozenset([*plain, *marked, *(f"{name}_{source}" for source in _SOURCES for name in plain)])


def find_keys(fields: Iterable[str], present: Iterable[str], given: Mapping[str, str], place: str) -> dict[str, str]:
    """The key of each field among those that are present: the given one, else a usual one; any case of letters will do.

    A key that is given for one field is no other's, and the field of the key `NONE` is left out. UserError if a given
    key is missing, if several usual ones are there, and for labels of another calculation than the energy.
    """
    fields, present = list(fields), list(present)
    found = {field: _given(field, given[field], present, place) for field in fields if field in given}
    claimed = set(found.values())
    skipped = {_SAME.get(field) for field, key in given.items() if key.lower() != NONE}
    for field in fields:
        if field in given or field in skipped:
            continue
        keys = [key for key in present if key not in claimed and key.lower() in usual_keys(field)]
        if len(keys) > 1:
            raise UserError(f"{place} has {' and '.join(keys)} for {field}: choose with --keys {field}={keys[0]}")
        if keys:
            found[field] = keys[0]
    known = {field: key for field, key in found.items() if key is not None}
    _require_one_source(known, present, given, place)
    return known


def _given(field: str, key: str, present: list[str], place: str) -> str | None:
    if key in present:
        return key
    alike = [each for each in present if each.lower() == key.lower()]
    if len(alike) == 1:
        return alike[0]
    if key.lower() == NONE:
        return None
    raise UserError(f"{place} has no {key!r} for {field}: it has {', '.join(sorted(present)) or 'no keys at all'}")


def _require_one_source(found: Mapping[str, str], present: list[str], given: Mapping[str, str], place: str) -> None:
    """UserError for a label that no key was given for and that is of another calculation than the energy.

    Names such as `dft_energy`, `gap_energy`, `gap_virial` tell them apart, in files that hold results of several.
    """
    source = _source("energy", found.get("energy", ""))
    if source is None:
        return
    energies = {_source("energy", key) for key in present} - {None}
    for label in ("forces", "gradient", "hessian", "stress", "virial"):
        its = _source(label, found[label]) if label in found and label not in given else None
        if its in (source, None):
            continue
        own = [
            f"{field}={key}"
            for field in (label, _SAME.get(label, label))
            for key in present
            if _source(field, key) == source
        ]
        if own or its in energies or (not its and len(energies) > 1):
            raise UserError(
                f"{place} has its {label} under {found[label]}, which is not of the calculation of "
                f"{found['energy']}: choose with --keys {own[0] if own else f'{label}={NONE}'}"
                + ("" if own else ", which leaves it out")
            )


@cache
def _source(field: str, key: str) -> str | None:
    """What stands beside a field's name in a key: `gap` of `gap_energy`, empty for `energy`; None elsewhere."""
    key = key.lower()
    if key in _PLAIN[field]:
        return ""
    for name in sorted(_PLAIN[field], key=len, reverse=True):
        for mark in "_-.":
            if key.endswith(mark + name):
                source = key.removesuffix(mark + name)
            elif key.startswith(name + mark):
                source = key.removeprefix(name + mark)
            else:
                continue
            return None if source in _NO_SOURCES else source
    return None


def some(names: Iterable[str]) -> str:
    """The first of many names, for a sentence."""
    names = list(names)
    told = ", ".join(names[:MOST_NAMED]) or "no arrays"
    return told + (f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else "")


def unread(names: Iterable[str]) -> tuple[str, ...]:
    """The note on arrays that are in a file and are not read; none where there are none."""
    names = sorted(names)
    return (f"{some(names)} not read, --keys FIELD=NAME reads what is a label",) if names else ()
