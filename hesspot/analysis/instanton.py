"""Thermal rates: transition state theory, and ring-polymer instantons with exact Hessians.

The instanton rate is that of Richardson and Althorpe, J. Chem. Phys. 131, 214106 (2009), for a molecule that also
moves and rotates:

    k Q_r = 1/(β_N ħ) √(B_N / 2πβ_N ħ²) Π' 1/(β_N ħ|η|) exp(−S/ħ),   β_N = β/N,   B_N = Σ m (x_i+1 − x_i)²

over a ring of N beads that is half a ring gone there and back. η² are the eigenvalues of its mass-weighted Hessian but
those of the rigid motions, whose classical partition functions take their place, and that of the shift along the ring.
"""

from __future__ import annotations

import ase
import numpy as np

from hesspot.analysis.normal_modes import NormalModes, rigid_basis
from hesspot.units import AMU_A2_PER_FS2, BOLTZMANN, HBAR, INVERSE_CM

#: From eV/(Å² amu) to 1/fs².
SQUARES = 1.0 / AMU_A2_PER_FS2


def log_ring_oscillator(frequencies: np.ndarray, n_beads: int, temperature: float) -> float:
    """log of the partition function of harmonic modes (cm⁻¹) with `n_beads` beads at `temperature` K."""
    unit = BOLTZMANN * temperature * n_beads  # 1/β_N, eV
    springs = 2.0 * np.sin(np.arange(n_beads) * np.pi / n_beads)
    quanta = np.asarray(frequencies) * INVERSE_CM / unit
    return float(-0.5 * np.log(springs**2 + quanta[:, None] ** 2).sum())


def log_rotation(moments: np.ndarray, temperature: float) -> float:
    """log of the classical rotational partition function without symmetry number; moments (3,) amu Å²."""
    return float(0.5 * np.log(8.0 * np.pi * np.prod(moments * AMU_A2_PER_FS2 * BOLTZMANN * temperature / HBAR**2)))


def transition_state_rate(
    reactant: ase.Atoms, modes: NormalModes, saddle: ase.Atoms, saddle_modes: NormalModes, barrier: float, kelvin: float
) -> tuple[float, float]:
    """Harmonic transition state theory with classical and with quantum vibrations, 1/s; barrier eV.

    No symmetry numbers; both structures must be molecules that are not linear.
    """
    kt = BOLTZMANN * kelvin
    turn = log_rotation(saddle.get_moments_of_inertia(), kelvin) - log_rotation(
        reactant.get_moments_of_inertia(), kelvin
    )
    before, after = (m.frequencies[m.frequencies > 0] * INVERSE_CM / kt for m in (modes, saddle_modes))
    prefactor = np.log(kt / (2.0 * np.pi * HBAR) * 1e15) + turn - barrier / kt
    classical = np.log(before).sum() - np.log(after).sum()
    quantum = np.log(2 * np.sinh(before / 2)).sum() - np.log(2 * np.sinh(after / 2)).sum()
    return float(np.exp(prefactor + classical)), float(np.exp(prefactor + quantum))


def log_instanton(
    masses: np.ndarray,
    positions: np.ndarray,
    energies: np.ndarray,
    hessians: np.ndarray,
    temperature: float,
    n_rigid: int = 0,
) -> float:
    """log of k·Q_r in 1/fs, without the partition functions of the rigid motions.

    masses (d,) amu, one for each coordinate; positions (P, d) Å, energies (P,) eV against the reactant's minimum and
    hessians (P, d, d) eV/Å² of the half ring; n_rigid: its translations and rotations.
    """
    n_half, size = positions.shape
    n = 2 * n_half
    unit = BOLTZMANN * temperature * n  # 1/β_N, eV
    spring = (unit / HBAR) ** 2  # 1/fs²
    steps = np.diff(positions, axis=0)
    b_n = 2.0 * AMU_A2_PER_FS2 * (masses * steps**2).sum()  # eV fs²
    action = (0.5 * spring * b_n + 2.0 * energies.sum()) / unit
    ring = [*range(n_half), *reversed(range(n_half))]
    root = np.sqrt(np.outer(masses, masses))
    matrix = np.zeros((n, size, n, size))
    for bead, source in enumerate(ring):
        matrix[bead, :, bead] += hessians[source] / root * SQUARES + 2.0 * spring * np.eye(size)
        for other in ((bead + 1) % n, (bead - 1) % n):
            matrix[bead, :, other] -= spring * np.eye(size)
    squares = np.linalg.eigvalsh(matrix.reshape(n * size, n * size))
    squares = squares[np.argsort(np.abs(squares))][n_rigid + 1 :]
    product = -0.5 * np.log(np.abs(squares) * (HBAR / unit) ** 2).sum() + n_rigid * np.log(n)
    return float(np.log(unit / HBAR) + 0.5 * np.log(b_n * unit / (2.0 * np.pi * HBAR**2)) + product - action)


def instanton_rate(
    reactant: ase.Atoms,
    modes: NormalModes,
    path: list[ase.Atoms],
    energies: np.ndarray,
    hessians: np.ndarray,
    kelvin: float,
) -> float:
    """Rate in 1/s of a molecule that is not linear, without symmetry numbers.

    path: optimised half ring of P beads; energies (P,) eV against the reactant's minimum; hessians (P, 3n, 3n) eV/Å².
    """
    positions = np.stack([bead.positions.ravel() for bead in path])
    masses = np.repeat(path[0].get_masses(), 3)
    rigid = len(rigid_basis(path[0], path[0].get_masses()))
    moments = np.linalg.eigvalsh(np.mean([_inertia(bead) for bead in path], axis=0))
    log_rate = (
        log_instanton(masses, positions, energies, hessians, kelvin, rigid)
        + log_rotation(moments, kelvin)
        - log_rotation(reactant.get_moments_of_inertia(), kelvin)
        - log_ring_oscillator(modes.frequencies, 2 * len(path), kelvin)
    )
    return float(np.exp(log_rate) * 1e15)


def _inertia(atoms: ase.Atoms) -> np.ndarray:
    arms = atoms.positions - atoms.get_center_of_mass()
    squares = (atoms.get_masses() * (arms**2).sum(1)).sum()
    return squares * np.eye(3) - np.einsum("a,ai,aj->ij", atoms.get_masses(), arms, arms)
