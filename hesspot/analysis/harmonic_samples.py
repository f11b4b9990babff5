"""Thermal samples of the harmonic modes around a stationary point."""

import numpy as np
from ase import Atoms
from scipy.spatial.distance import pdist

from hesspot.analysis.normal_modes import normal_modes
from hesspot.units import BOLTZMANN, SQRT_EV_PER_A2_AMU

#: cm⁻¹; softer modes are sampled as if they had this wavenumber, where the harmonic picture breaks down.
SOFTEST = 300.0
#: a sample with two atoms nearer than this part of their distance at the stationary point is drawn again.
NEAREST = 0.75


def harmonic_modes(atoms: Atoms, hessian: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues (m,) in eV/(Å² amu) and mass-weighted modes in columns, (3n, m)."""
    modes = normal_modes(atoms, hessian)
    return np.sign(modes.frequencies) * (modes.frequencies / SQRT_EV_PER_A2_AMU) ** 2, modes.vectors.T


def sample_modes(
    atoms: Atoms, hessian: np.ndarray, temperature: float, rng: np.random.Generator, softest: float = SOFTEST
) -> Atoms:
    """A structure from the classical Boltzmann distribution of the harmonic modes (Smith, Isayev, Roitberg 2017).

    Modes softer than `softest` (cm⁻¹), and imaginary ones, are taken as hard as `softest` or their |λ|, the harder one.
    """
    values, modes = harmonic_modes(atoms, hessian)
    stiffness = np.maximum(np.abs(values), (softest / SQRT_EV_PER_A2_AMU) ** 2)
    spread = np.sqrt(BOLTZMANN * temperature / stiffness)
    weights = np.sqrt(atoms.get_masses())[:, None]
    sample = atoms.copy()
    while True:
        shift = modes @ (spread * rng.normal(size=len(values)))
        sample.positions = atoms.positions + shift.reshape(-1, 3) / weights
        if (pdist(sample.positions) > NEAREST * pdist(atoms.positions)).all():
            return sample
