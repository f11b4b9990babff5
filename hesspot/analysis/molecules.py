"""Which atoms make a molecule, and whether two molecules are the same."""

from itertools import combinations

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from scipy.sparse.csgraph import connected_components

#: Atoms nearer than this times the sum of their covalent radii belong to one fragment.
BONDED = 1.3

#: Å, largest difference of interatomic distances between two structures of the same molecule.
SAME = 0.1


def fragments(atoms: Atoms) -> list[Atoms]:
    """The bonded pieces of a structure."""
    count, owner = connected_components(_is_bonded(atoms))
    return [atoms[owner == fragment] for fragment in range(count)]


def bonds(atoms: Atoms) -> set[tuple[int, int]]:
    """Pairs of atoms, the smaller number first, that are bonded."""
    first, second = np.nonzero(np.triu(_is_bonded(atoms), 1))
    return {(int(a), int(b)) for a, b in zip(first, second, strict=True)}


def is_same_molecule(atoms: Atoms, other: Atoms, tolerance: float = SAME) -> bool:
    """Whether two structures have the same interatomic distances, to nearest images, whatever the order of atoms.

    Mirror images have.
    """
    if sorted(atoms.numbers) != sorted(other.numbers):
        return False
    (pairs, distances), (others, expected) = _by_elements(atoms), _by_elements(other)
    return pairs == others and bool(np.abs(distances - expected).max(initial=0.0) < tolerance)


def _is_bonded(atoms: Atoms) -> np.ndarray:
    radii = covalent_radii[atoms.numbers]
    return np.asarray(atoms.get_all_distances(mic=bool(atoms.pbc.any())) < BONDED * (radii[:, None] + radii))


def _by_elements(atoms: Atoms) -> tuple[list[tuple[int, int]], np.ndarray]:
    """Distances in Å, ordered by the pair of elements and then by length."""
    numbers = [int(number) for number in atoms.numbers]
    distances = atoms.get_all_distances(mic=bool(atoms.pbc.any()))
    found = sorted(
        (min(numbers[a], numbers[b]), max(numbers[a], numbers[b]), float(distances[a, b]))
        for a, b in combinations(range(len(atoms)), 2)
    )
    return [(first, second) for first, second, _ in found], np.array([distance for *_, distance in found])
