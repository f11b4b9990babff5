"""Harmonic analysis of a Hessian: frequencies, modes, zero-point energy.

Translations and rotations are taken out of the mass-weighted Hessian by projection (Wilson, Decius, Cross,
Molecular Vibrations, 1955; Eckart frame of the given geometry), so that only vibrations are left: 3n − 6 of them,
3n − 5 for a linear molecule, none for a single atom, 3n − 3 in a periodic structure.

Masses are those of the structure: its own where it has them (isotopes), else ASE's standard ones. Coordinates held by
its constraints (FixAtoms, FixCartesian) are left out, with the motions that they make impossible.
"""

from dataclasses import dataclass

import ase
import numpy as np

from hesspot.errors import UserError
from hesspot.structures import check_atoms, fixed_coordinates
from hesspot.units import INVERSE_CM, SQRT_EV_PER_A2_AMU

#: A rotation counts if the root of its moment of inertia is more than this part of the largest: geometries
#: optimised to 1e-3 Å are linear, and a molecule bent by a tenth of a degree is not.
LINEAR = 1e-3

#: cm⁻¹; a softer imaginary mode is not counted: its sign is the noise of numerical Hessians (√1e-6 eV/Å²/amu).
IMAGINARY = 0.5


@dataclass(frozen=True, eq=False)
class NormalModes:
    """Vibrations of one structure, in ascending order of frequency.

    frequencies (m,) cm⁻¹, imaginary ones negative; vectors (m, 3n), orthonormal in mass-weighted coordinates,
    atom-major; masses (n,) amu; n_rigid: the translations and rotations that were taken out, m = 3n − n_rigid less the
    coordinates that are held.
    """

    frequencies: np.ndarray
    vectors: np.ndarray
    masses: np.ndarray
    n_rigid: int

    @property
    def n_imaginary(self) -> int:
        """How many frequencies lie below −`IMAGINARY`."""
        return int((self.frequencies < -IMAGINARY).sum())

    @property
    def zero_point_energy(self) -> float:
        """½ Σ hcν̃ over the real modes, eV."""
        return zero_point_energy(self.frequencies)

    @property
    def reduced_masses(self) -> np.ndarray:
        """(m,) amu: one over the squared length of the mode as a Cartesian displacement."""
        return 1.0 / ((self.vectors**2) / np.repeat(self.masses, 3)).sum(1)

    def displacements(self) -> np.ndarray:
        """Cartesian directions of the modes, (m, n, 3), each of length 1."""
        cartesian = self.vectors / np.sqrt(np.repeat(self.masses, 3))
        cartesian /= np.linalg.norm(cartesian, axis=1, keepdims=True)
        return cartesian.reshape(len(self.vectors), len(self.masses), 3)


def zero_point_energy(frequencies: np.ndarray) -> float:
    """½ Σ hcν̃ in eV over the positive ones of frequencies in cm⁻¹."""
    frequencies = np.asarray(frequencies)
    return float(0.5 * INVERSE_CM * frequencies[frequencies > 0].sum())


def mass_weighted(hessian: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """H_ab / √(m_a m_b), symmetrised: (3n, 3n) eV/Å² and (n,) amu → (3n, 3n) eV/(Å² amu)."""
    inverse = 1.0 / np.sqrt(np.repeat(masses, 3))
    weighted = hessian * np.outer(inverse, inverse)
    return 0.5 * (weighted + weighted.T)


def rigid_basis(atoms: ase.Atoms, masses: np.ndarray) -> np.ndarray:
    """Orthonormal translations and rotations in mass-weighted coordinates, (k, 3n).

    k is 6, 5 for a linear molecule, 3 for a single atom and for a structure that is periodic in any direction; less
    where constraints hold coordinates: only motions that leave these at rest count.
    """
    motions = _free_rigid_basis(atoms, masses)
    held = fixed_coordinates(atoms, "the structure").ravel()
    if not held.any():
        return motions
    mixing, sizes, _ = np.linalg.svd(motions[:, held])
    present = np.zeros(len(motions), dtype=bool)
    present[: len(sizes)] = sizes > LINEAR * sizes.max(initial=0.0)
    return np.asarray(mixing[:, ~present].T @ motions)


def _free_rigid_basis(atoms: ase.Atoms, masses: np.ndarray) -> np.ndarray:
    root = np.sqrt(masses)
    translations = np.stack([np.outer(root, axis).ravel() for axis in np.eye(3)]) / np.sqrt(masses.sum())
    if atoms.pbc.any():
        return translations
    arms = atoms.positions - np.average(atoms.positions, axis=0, weights=masses)
    rotations = np.stack([(root[:, None] * np.cross(axis, arms)).ravel() for axis in np.eye(3)])
    _, sizes, directions = np.linalg.svd(rotations, full_matrices=False)
    present = sizes > LINEAR * max(sizes.max(), np.finfo(float).tiny)
    if len(atoms) == 1:
        present[:] = False
    return np.concatenate([translations, directions[present]])


def normal_modes(atoms: ase.Atoms, hessian: np.ndarray, masses: np.ndarray | None = None) -> NormalModes:
    """Vibrations of `atoms` with a Hessian (3n, 3n) in eV/Å², of all atoms; masses (n,) in amu, those of `atoms` by
    default.

    UserError for a Hessian of another shape or with non-finite elements, impossible masses, and constraints that are
    not known.
    """
    check_atoms(atoms, "the structure")
    size = 3 * len(atoms)
    hessian = np.asarray(hessian, dtype=np.float64)
    if hessian.shape != (size, size):
        raise UserError(f"a Hessian of shape {hessian.shape} was given for {len(atoms)} atoms; it must be {size, size}")
    if not np.isfinite(hessian).all():
        raise UserError(f"the Hessian of {atoms.symbols} has an element that is not a finite number; compute it again")
    masses = atoms.get_masses() if masses is None else np.asarray(masses, dtype=np.float64)
    if masses.shape != (len(atoms),) or not (masses > 0).all():
        raise UserError(f"masses of {atoms.symbols} are {masses}; give {len(atoms)} positive numbers, in amu")
    rigid = rigid_basis(atoms, masses)
    held = np.eye(size)[fixed_coordinates(atoms, "the structure").ravel()]
    still = np.concatenate([rigid, held])
    vibrations = np.linalg.svd(still, full_matrices=True)[2][len(still) :]
    values, mixing = np.linalg.eigh(vibrations @ mass_weighted(hessian, masses) @ vibrations.T)
    frequencies = np.sign(values) * np.sqrt(np.abs(values)) * SQRT_EV_PER_A2_AMU
    return NormalModes(frequencies, mixing.T @ vibrations, masses, len(rigid))


def mode_overlap(first: NormalModes, second: NormalModes, mode: int = 0) -> float:
    """|cos| of the angle between the two structures' modes of one number (0: the lowest), in mass-weighted space."""
    return float(abs(first.vectors[mode] @ second.vectors[mode]))
