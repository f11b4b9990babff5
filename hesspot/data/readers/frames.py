"""Whether labels are in the frame of their coordinates: programs turn molecules, and print some things before it."""

from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_masses_common

from hesspot.analysis.normal_modes import normal_modes
from hesspot.data.readers.raw import square_hessian
from hesspot.data.sum_rules import turned
from hesspot.errors import UserError
from hesspot.units import BOHR, HARTREE_PER_BOHR2

#: Part of Σ|r||g| that the torque of a gradient in another frame exceeds, and Hartree; grids make 1e-3 of noise.
TORQUE, TORQUE_NOISE = 0.1, 5e-3
#: Part of Σ|g| and Hartree/bohr: net force of a gradient that is not this molecule's alone.
NET_FORCE, NET_FORCE_NOISE = 0.1, 5e-3
#: Parts of the largest element, of |Σ_b H_ab| and of |H·(e×r) + e×F| per bohr: what is misread or turned has some 1.
TRANSLATION, ROTATION = 0.05, 0.3
#: cm⁻¹, softer vibrations are not compared; difference of printed frequencies that is none of rounding or of masses.
STIFF, FREQUENCY = 500.0, 10.0


def require_frame(place: str, positions: np.ndarray, gradient: Any, hessian: Any) -> None:
    """UserError if the gradient or the Hessian of a molecule cannot belong to these coordinates.

    Positions (n, 3) in bohr, gradient (n, 3) in Hartree/bohr, Hessian of any shape in Hartree/bohr². An isolated
    molecule has neither a net force nor a torque, and turning it turns its forces: H·(e×r) = −e×F.
    """
    n = len(positions)
    arms = np.asarray(positions, dtype=np.float64).reshape(n, 3)
    arms = arms - arms.mean(axis=0)
    g = None if gradient is None else np.asarray(gradient, dtype=np.float64)
    if g is not None and g.size == 3 * n:
        g = g.reshape(n, 3)
        sizes = np.linalg.norm(g, axis=1)
        net = np.abs(g.sum(axis=0)).max()
        if net > max(NET_FORCE_NOISE, NET_FORCE * sizes.sum()):
            raise UserError(
                f"{place} has forces that sum to {net:.2g} Hartree/bohr, so that something outside acts on it: "
                "leave out what was computed in a field, with point charges, or with atoms that are not listed"
            )
        torque = np.abs(np.cross(arms, g).sum(axis=0)).max()
        if torque > max(TORQUE_NOISE, TORQUE * (np.linalg.norm(arms, axis=1) * sizes).sum()):
            raise UserError(
                f"{place} has forces with a torque of {torque:.2g} Hartree, so that they are in another orientation "
                "than its coordinates: compute it without reorientation (nosymm, noorient or the like)"
            )
    if hessian is None or n < 2:
        return
    h = square_hessian(hessian, n, place)
    largest = np.abs(h).max()
    translation = np.abs(h.reshape(3 * n, n, 3).sum(axis=1)).max()
    if translation > TRANSLATION * largest:
        raise UserError(
            f"{place} has a Hessian whose rows sum to {translation:.2g} Hartree/bohr² where the largest element is "
            f"{largest:.2g}: it is of a part of the molecule, of one in a field, or in an unknown layout; leave it out"
        )
    forces = turned(-g) if g is not None and g.size == 3 * n else np.zeros((3, 3 * n))
    rotation = np.abs(turned(arms) @ h + forces).max()
    if rotation > ROTATION * largest:
        raise UserError(
            f"{place} has a Hessian in another orientation than its coordinates (H·(e×r) + e×F is {rotation:.2g} "
            "Hartree/bohr): compute it without reorientation (nosymm, noorient or the like)"
        )


def require_frequencies(
    place: str,
    numbers: np.ndarray,
    positions: np.ndarray,
    hessian: Any,
    printed: np.ndarray,
    masses: np.ndarray | None,
) -> None:
    """UserError if a Hessian does not have the frequencies (cm⁻¹) that its program printed beside it.

    Positions (n, 3) in bohr, Hessian in Hartree/bohr², masses (n,) in amu. Compared are vibrations above
    `STIFF`: soft ones depend on how a program takes rotations out.
    """
    n = len(numbers)
    atoms = Atoms(numbers, np.asarray(positions).reshape(n, 3) * BOHR)
    full = square_hessian(hessian, n, place) * HARTREE_PER_BOHR2
    tables = (
        [masses] if masses is not None and len(masses) == n else [atomic_masses_common[numbers], atomic_masses[numbers]]
    )
    expected = np.sort(np.asarray(printed, dtype=np.float64))
    expected = expected[expected > STIFF]
    difference = np.inf
    for own in tables:
        found = normal_modes(atoms, 0.5 * (full + full.T), own).frequencies
        found = found[found > STIFF - FREQUENCY]
        if len(expected) <= len(found):
            difference = min(difference, np.abs(found[len(found) - len(expected) :] - expected).max(initial=0.0))
    if difference > FREQUENCY:
        raise UserError(
            f"{place} has a Hessian whose frequencies differ by {difference:.3g} cm⁻¹ from those that were printed: "
            "it is in a layout that is not known, scaled, or of other masses; leave it out"
        )
