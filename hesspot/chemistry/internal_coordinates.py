"""Bond lengths, angles and dihedrals of a structure, and how each changes when atoms move."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import ase
import numpy as np
from ase.data import covalent_radii
from ase.geometry import get_angles_derivatives, get_dihedrals_derivatives
from ase.neighborlist import neighbor_list

from hesspot.analysis.molecules import BONDED

Kind = Literal["stretch", "bend", "torsion"]

#: Degrees; an angle beyond is a linear one, which bends in two directions, and around which nothing turns.
LINEAR_ANGLE = 170.0

#: Atoms with more neighbours are those of metals and salts, around whose bonds nothing turns by itself.
MOST_NEIGHBORS = 4

#: Of the sine of the angle between a bond and the plane of two others: a centre of three bonds is flat below.
FLAT = 0.15


@dataclass(frozen=True, eq=False)
class Coordinate:
    """kind and atoms (the centre of an angle is the second, and for a flat centre of three bonds the last); gradient:
    (len(atoms), 3), Å or rad per Å."""

    kind: Kind
    atoms: tuple[int, ...]
    gradient: np.ndarray
    out_of_plane: bool = False

    def change(self, displacements: np.ndarray) -> np.ndarray:
        """Of the coordinate for each of the displacements (m, n, 3): (m,)."""
        return np.einsum("maj,aj->m", displacements[:, list(self.atoms)], self.gradient)


def bonds(atoms: ase.Atoms) -> list[list[tuple[int, np.ndarray]]]:
    """For each atom its neighbours, and the vectors to them in Å; images count."""
    first, second, vectors = neighbor_list("ijD", atoms, BONDED * covalent_radii[atoms.numbers])
    found: list[list[tuple[int, np.ndarray]]] = [[] for _ in range(len(atoms))]
    for i, j, vector in zip(first.tolist(), second.tolist(), vectors, strict=True):
        found[i].append((j, vector))
    return found


def stretches(neighbors: list[list[tuple[int, np.ndarray]]]) -> Iterator[Coordinate]:
    """The length of each bond, once."""
    for i, around in enumerate(neighbors):
        for j, vector in around:
            if i < j:
                unit = vector / np.linalg.norm(vector)
                yield Coordinate("stretch", (i, j), np.stack([-unit, unit]))


def bends(neighbors: list[list[tuple[int, np.ndarray]]]) -> Iterator[Coordinate]:
    """Each angle between two bonds; of a linear one both directions, and of a flat centre the way out of its plane."""
    for i, around in enumerate(neighbors):
        for (a, to_a), (b, to_b) in combinations(around, 2):
            if _angle(to_a, to_b) > LINEAR_ANGLE:
                for across in _across(to_a):
                    ends = [across / np.linalg.norm(to_a), across / np.linalg.norm(to_b)]
                    yield Coordinate("bend", (a, i, b), np.stack([ends[0], -ends[0] - ends[1], ends[1]]))
            else:
                gradient = np.radians(get_angles_derivatives(to_a[None], to_b[None])[0])
                yield Coordinate("bend", (a, i, b), gradient)
        if len(around) == 3 and _is_flat([vector for _, vector in around]):
            (a, to_a), (b, to_b), (c, to_c) = around
            normal = np.cross(to_b - to_a, to_c - to_a)
            normal /= np.linalg.norm(normal)
            height = np.mean([np.linalg.norm(vector) for _, vector in around])
            gradient = np.stack([normal, normal, normal, -3.0 * normal]) / (3.0 * height)
            yield Coordinate("bend", (a, b, c, i), gradient, out_of_plane=True)


def torsions(neighbors: list[list[tuple[int, np.ndarray]]]) -> Iterator[Coordinate]:
    """Each dihedral around a bond whose ends have other neighbours, but for linear angles."""
    for i, around in enumerate(neighbors):
        for j, along in around:
            if i > j or max(len(around), len(neighbors[j])) > MOST_NEIGHBORS:
                continue
            for a, to_a in around:
                if not _turns(along, to_a):
                    continue
                for b, to_b in neighbors[j]:
                    if _turns(-along, to_b) and np.linalg.norm(along + to_b - to_a) > 1e-6:
                        gradient = get_dihedrals_derivatives(-to_a[None], along[None], to_b[None])[0]
                        yield Coordinate("torsion", (a, i, j, b), np.radians(gradient))


def _angle(first: np.ndarray, second: np.ndarray) -> float:
    cosine = first @ second / (np.linalg.norm(first) * np.linalg.norm(second))
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def _turns(bond: np.ndarray, other: np.ndarray) -> bool:
    return 180.0 - LINEAR_ANGLE < _angle(bond, other) < LINEAR_ANGLE


def _across(vector: np.ndarray) -> np.ndarray:
    """Two directions (2, 3) at right angles to a vector and to each other."""
    return np.asarray(np.linalg.svd(vector[None])[2][1:])


def _is_flat(vectors: list[np.ndarray]) -> bool:
    units = [vector / np.linalg.norm(vector) for vector in vectors]
    return bool(abs(np.linalg.det(units)) < FLAT)
