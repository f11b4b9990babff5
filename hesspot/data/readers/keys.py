"""Names under which files keep their labels."""

from collections.abc import Iterable, Mapping
from functools import cache

from hesspot.errors import UserError

_PLAIN = {
    "energy": ("energy", "energies", "total_energy", "potential_energy", "e_tot", "u0"),
    "forces": ("forces", "force"),
    "gradient": ("gradient", "gradients", "grad", "grads"),
    "hessian": ("hessian", "hessians", "hess"),
    "stress": ("stress",),
    "virial": ("virial", "virials"),
    "numbers": ("numbers", "atomic_numbers", "z", "species", "elements", "symbols", "atomic_number", "atnums"),
    "positions": ("positions", "coordinates", "coords", "coord", "pos", "r", "geometry", "xyz"),
    "cell": ("cell", "box", "lattice"),
    "pbc": ("pbc",),
    "masses": ("masses", "mass"),
    "name": ("name", "names", "id", "ids"),
    "system": ("system", "systems", "formula"),
    "kind": ("kind", "kinds"),
    "part": ("part", "split"),
    "level": ("level_of_theory", "level"),
    "counts": ("counts", "natoms", "n_atoms", "num_atoms"),
}
_SOURCES = ("ref", "dft", "qm")

#: Every field that a key can be given for.
FIELDS = tuple(_PLAIN)


@cache
def usual_keys(field: str) -> frozenset[str]:
    """Lower-case names under which a field is looked for: `forces`, `ref_forces`, `forces_dft`, …"""
    plain = _PLAIN[field]
    marked = [f"{source}_{name}" for source in _SOURCES for name in plain]
    return frozenset([*plain, *marked, *(f"{name}_{source}" for source in _SOURCES for name in plain)])


def find_key(field: str, present: Iterable[str], given: Mapping[str, str], place: str) -> str | None:
    """The key of `field` among those that are present: the given one, else a usual one (any case), else None.

    UserError if the given one is missing, or if several usual ones are there.
    """
    present = list(present)
    if field in given:
        if given[field] in present:
            return given[field]
        raise UserError(
            f"{place} has no {given[field]!r} for {field}: it has {', '.join(sorted(present)) or 'no keys at all'}"
        )
    usual = usual_keys(field)
    found = [key for key in present if key.lower() in usual]
    if len(found) > 1:
        raise UserError(f"{place} has {' and '.join(found)} for {field}: choose with --keys {field}={found[0]}")
    return found[0] if found else None
