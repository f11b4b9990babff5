"""How far the noise of a Hessian moves frequencies, from what sum rules leave of it."""

from dataclasses import dataclass

import ase
import numpy as np

from hesspot.analysis.normal_modes import IMAGINARY, LINEAR, mass_weighted, normal_modes
from hesspot.data.record import Record
from hesspot.data.sum_rules import isolated_atoms, turned
from hesspot.units import SQRT_EV_PER_A2_AMU

#: The largest of many differences of two elements with noise, over what the noise of one moves an eigenvalue by.
LARGEST = 4.0


@dataclass(frozen=True, eq=False)
class Vibrations:
    """frequencies (m,) cm⁻¹, imaginary ones negative, and the error of their squares in cm⁻²."""

    frequencies: np.ndarray
    error: float

    @property
    def frequency_error(self) -> float:
        """cm⁻¹, root mean square over the vibrations of √(ν² + error) − ν: soft ones move most."""
        if not len(self.frequencies):
            return 0.0
        moved = np.sqrt(self.frequencies**2 + self.error) - np.abs(self.frequencies)
        return float(np.sqrt((moved**2).mean()))

    @property
    def n_imaginary(self) -> tuple[int, int]:
        """How many are imaginary, at least and at most."""
        squares = np.sign(self.frequencies) * self.frequencies**2 + IMAGINARY**2
        return int((squares < -self.error).sum()), int((squares < self.error).sum())


def vibrations(record: Record) -> Vibrations:
    """Frequencies of the record's Hessian, and the error of their squares.

    The mass-weighted Hessian W has no elements between translations and anything, and −M^(−½) e×F between rotations e
    and anything. What it has instead, E = W b − expected for each orthonormal rigid motion b, is noise that vibrations
    have as well: an eigenvalue ν² has the error √2 |E| / √(3n), as if all elements of W had the same noise. The worst
    motion counts; the asymmetry that the Hessian had (property `asymmetry`) is taken likewise, at the mean mass.
    """
    assert record.hessian is not None
    atoms = isolated_atoms(record)
    left = np.linalg.norm(_residues(atoms, record.forces, record.hessian), axis=1).max()
    errors = [np.sqrt(2 / (3 * len(atoms))) * float(left)]
    asymmetry = record.properties.get("asymmetry")
    if isinstance(asymmetry, float):
        errors.append(asymmetry / LARGEST / atoms.get_masses().mean())
    return Vibrations(normal_modes(atoms, record.hessian).frequencies, max(errors) * SQRT_EV_PER_A2_AMU**2)


def _residues(atoms: ase.Atoms, forces: np.ndarray | None, hessian: np.ndarray) -> np.ndarray:
    """E of each rigid motion, (k, 3n) eV/(Å² amu); rotations only of molecules whose forces (n, 3) eV/Å are known."""
    masses = atoms.get_masses()
    weighted, root = mass_weighted(hessian, masses), np.repeat(np.sqrt(masses), 3)
    translations = np.tile(np.eye(3), len(atoms)) * root / np.sqrt(masses.sum())
    if forces is None or atoms.pbc.any() or len(atoms) < 2:
        return np.asarray(translations @ weighted)
    turns = turned(atoms.positions - np.average(atoms.positions, axis=0, weights=masses)) * root
    mixing, sizes, _ = np.linalg.svd(turns, full_matrices=False)
    present = sizes > LINEAR * sizes.max()
    rotations = (mixing.T @ (turns @ weighted + turned(forces) / root))[present] / sizes[present, None]
    return np.concatenate([translations @ weighted, rotations])
