"""Minima and saddle points by Newton's method with analytic Hessians."""

from __future__ import annotations

from collections.abc import Callable

import ase
import numpy as np

from hesspot.analysis.normal_modes import normal_modes
from hesspot.errors import UserError
from hesspot.structures import fixed_coordinates
from hesspot.units import SQRT_EV_PER_A2_AMU

#: eV/Å; where a search ends.
CONVERGED = 1e-8

#: Å, the largest displacement of an atom in one step; and the number of steps after which a search gives up.
LONGEST_STEP, STEPS = 0.1, 100

#: cm⁻¹; softer modes are treated as if they had this frequency, so that steps stay finite.
SOFTEST = 20.0


def stationary_point(
    atoms: ase.Atoms,
    derivatives: Callable[[ase.Atoms], tuple[np.ndarray, np.ndarray]],
    enough: float = CONVERGED,
    *,
    downhill: bool = False,
) -> tuple[ase.Atoms, np.ndarray]:
    """The stationary point that Newton steps from `atoms` lead to, and its Hessian.

    derivatives: forces (n, 3) eV/Å and Hessian (3n, 3n) eV/Å² of a structure. Steps are taken along the vibrations
    alone, uphill along those with negative curvature, so that a geometry near a saddle point of any order stays there;
    with `downhill` down along those too (Y. Dauphin et al., arXiv:1406.2572), which is the way to a minimum.
    Constraints (FixAtoms, FixCartesian) hold: forces on what they hold do not count.
    Forces go below 1e-8 eV/Å, or in 100 steps below `enough`: where molecules hardly feel each other there is no more
    to be had. Else UserError.
    """
    atoms = atoms.copy()
    held = fixed_coordinates(atoms, "the structure")
    for number in range(STEPS + 1):
        forces, hessian = derivatives(atoms)
        forces = np.where(held, 0.0, forces)
        if np.abs(forces).max() <= (CONVERGED if number < STEPS else enough):
            return atoms, hessian
        modes = normal_modes(atoms, hessian)
        root = np.sqrt(np.repeat(modes.masses, 3))
        stiff = np.maximum(np.abs(modes.frequencies), SOFTEST) / SQRT_EV_PER_A2_AMU
        curvatures = np.where((modes.frequencies < 0) & (not downhill), -1.0, 1.0) * stiff**2
        step = (modes.vectors.T @ (modes.vectors @ (forces.ravel() / root) / curvatures) / root).reshape(-1, 3)
        atoms.positions += step * min(1.0, LONGEST_STEP / np.linalg.norm(step, axis=1).max())
    raise UserError(
        f"no stationary point of {atoms.symbols} was found in {STEPS} Newton steps (largest force component left: "
        f"{np.abs(forces).max():.2g} eV/Å); start nearer to one"
    )
