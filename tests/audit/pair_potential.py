"""A pair potential that is right, smooth to third order at its cutoff, and wrong as engines have been."""

from __future__ import annotations

from collections.abc import Callable

import ase
import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from vesin import ase_neighbor_list

CUTOFF, DEPTH, STEEPNESS = 4.5, 0.4, 1.4
#: Å, of the minimum between two atoms: different elements have different ones.
RADII = {"Cu": 1.25, "Ag": 1.4}

Edges = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


class Pair(Calculator):
    """Morse, switched off by (1 − (r/CUTOFF)²)⁴. Subclasses are wrong in one thing each."""

    implemented_properties = ["energy", "energies", "forces", "stress"]  # noqa: RUF012
    cutoff = CUTOFF

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        centers, neighbors, vectors, shifts = self.edges(atoms)
        lengths = np.linalg.norm(vectors, axis=1)
        rest = np.array([RADII[s] for s in atoms.symbols])
        energies, slopes = self.pair(lengths, rest[centers] + rest[neighbors])
        pulls = (0.5 * slopes / lengths)[:, None] * vectors
        forces = np.zeros((len(atoms), 3))
        np.add.at(forces, centers, pulls)
        np.add.at(forces, neighbors, -pulls * self.counted(atoms, shifts)[:, None])
        of_atoms = np.zeros(len(atoms))
        np.add.at(of_atoms, centers, 0.5 * energies)
        self.results = {"energy": of_atoms.sum(), "energies": of_atoms, "forces": forces}
        if atoms.cell.rank == 3:
            stress = vectors.T @ pulls / atoms.get_volume()
            self.results["stress"] = full_3x3_to_voigt_6_stress(stress)
        self.bend(atoms)

    def edges(self, atoms: ase.Atoms) -> Edges:
        return ase_neighbor_list("ijDS", atoms, self.cutoff)

    def pair(self, r: np.ndarray, rest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Energy and slope."""
        decay = np.exp(-STEEPNESS * (r - rest))
        value, slope = DEPTH * (decay**2 - 2 * decay), -2 * STEEPNESS * DEPTH * (decay**2 - decay)
        switch, bend = self.switch(r)
        return value * switch, slope * switch + value * bend

    def switch(self, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        left = np.clip(1 - (r / CUTOFF) ** 2, 0, None)
        return left**4, -8 * r / CUTOFF**2 * left**3

    def counted(self, atoms: ase.Atoms, shifts: np.ndarray) -> np.ndarray:
        """(edges,) 1 where the neighbour gets its force."""
        return np.ones(len(shifts))

    def bend(self, atoms: ase.Atoms) -> None:
        """Make results wrong."""


def bent(change: Callable[[dict, ase.Atoms], None]) -> Calculator:
    """A pair potential whose results are changed in place."""

    class Bent(Pair):
        def bend(self, atoms: ase.Atoms) -> None:
            change(self.results, atoms)

    return Bent()


class ForceMissingOnAGhost(Pair):
    """The images of one atom get no force."""

    def counted(self, atoms, shifts):
        _, neighbors, _, _ = self.edges(atoms)
        return np.where((neighbors == 1) & shifts.any(1), 0.0, 1.0)


class ListTooShort(Pair):
    cutoff = 0.9 * CUTOFF


class EnergyShiftedAlone(Pair):
    """The energy goes to zero at the cutoff, the force does not."""

    def pair(self, r, rest):
        value, slope = super().pair(r, rest)
        decay = np.exp(-STEEPNESS * (CUTOFF - rest))
        decay_r = np.exp(-STEEPNESS * (r - rest))
        value = DEPTH * (decay_r**2 - 2 * decay_r) - DEPTH * (decay**2 - 2 * decay)
        slope = -2 * STEEPNESS * DEPTH * (decay_r**2 - decay_r)
        return value, slope


class SwitchedOffTooQuickly(Pair):
    """The curvature has a step at the cutoff."""

    def switch(self, r):
        left = np.clip(1 - (r / CUTOFF) ** 2, 0, None)
        return left**2, -4 * r / CUTOFF**2 * left


class CellTransposed(Pair):
    def edges(self, atoms):
        other = atoms.copy()
        other.set_cell(atoms.cell.array.T)
        return super().edges(other)


class NearestImagesAlone(Pair):
    """Each pair once, at its nearest image: wrong where the cell is small."""

    def edges(self, atoms):
        i, j, vectors, shifts = super().edges(atoms)
        if not len(i):
            return i, j, vectors, shifts
        order = np.lexsort((np.linalg.norm(vectors, axis=1), j, i))
        i, j, vectors, shifts = i[order], j[order], vectors[order], shifts[order]
        first = np.concatenate([[True], (np.diff(i) != 0) | (np.diff(j) != 0)])
        return i[first], j[first], vectors[first], shifts[first]


class NoWrapping(Pair):
    """Images of the next cells alone, wherever the atoms are given."""

    def edges(self, atoms):
        i, j, vectors, shifts = super().edges(atoms)
        near = (np.abs(shifts) <= 2).all(1)
        return i[near], j[near], vectors[near], shifts[near]


class ListFromBefore(Pair):
    """The list of the structure before is taken where it has as many atoms."""

    kept: Edges | None = None

    def edges(self, atoms):
        before, now = self.kept, super().edges(atoms)
        self.kept = now
        if before is None or not len(before[0]) or before[0].max() + 1 != len(atoms):
            return now
        i, j, _, shifts = before
        vectors = atoms.positions[j] - atoms.positions[i] + shifts @ atoms.cell.array
        return i, j, vectors, shifts


class RowExchanged(Pair):
    """A Hessian by differences, two rows of which are exchanged."""

    def get_hessian(self, atoms):
        n = 3 * len(atoms)
        hessian, free = np.zeros((n, n)), Pair()
        for k in range(n):
            pair = []
            for sign in (-1, 1):
                moved = atoms.copy()
                moved.positions.ravel()[k] += sign * 1e-4
                moved.calc = free
                pair.append(moved.get_forces().ravel())
            hessian[k] = (pair[0] - pair[1]) / 2e-4
        hessian[[4, 7]] = hessian[[7, 4]]
        return hessian
