"""How many rotations leave a molecule as it is."""

from __future__ import annotations

import ase
import numpy as np

from hesspot.analysis.normal_modes import LINEAR

#: Å; an atom is on the place of another that is nearer: what relaxed structures of soft molecules are off by.
SAME_PLACE = 0.03


def symmetry_number(atoms: ase.Atoms) -> int:
    """Of the rotation of a molecule as a rigid body: its proper rotations, of atoms of one element and mass among
    themselves. Of a linear molecule 2 with equal ends and 1 otherwise; 1 for an atom."""
    masses = atoms.get_masses()
    arms = atoms.positions - np.average(atoms.positions, axis=0, weights=masses)
    lengths = np.linalg.norm(arms, axis=1)
    alike = np.abs(masses[:, None] - masses) + 1e3 * (atoms.numbers[:, None] != atoms.numbers) < 1e-3
    if len(atoms) == 1:
        return 1
    sizes = np.linalg.svd(arms, compute_uv=False)
    if len(atoms) == 2 or sizes[1] < LINEAR * sizes[0]:
        return 2 if _maps(-arms, arms, alike) else 1
    first = int(lengths.argmax())
    second = int(np.linalg.norm(np.cross(arms[first], arms), axis=1).argmax())
    frame, count = _frame(arms[first], arms[second]), 0
    distance = np.linalg.norm(arms[first] - arms[second])
    for a in np.flatnonzero(alike[first] & (np.abs(lengths - lengths[first]) < SAME_PLACE)):
        for b in np.flatnonzero(alike[second] & (np.abs(lengths - lengths[second]) < SAME_PLACE)):
            if abs(np.linalg.norm(arms[a] - arms[b]) - distance) < SAME_PLACE and a != b:
                count += _maps(arms @ frame.T @ _frame(arms[a], arms[b]), arms, alike)
    return max(count, 1)


def _frame(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Right-handed orthonormal rows (3, 3): the first along a vector, the third across both."""
    along = first / np.linalg.norm(first)
    normal = np.cross(first, second)
    normal /= np.linalg.norm(normal)
    return np.stack([along, np.cross(normal, along), normal])


def _maps(moved: np.ndarray, places: np.ndarray, alike: np.ndarray) -> bool:
    """Whether each atom, moved, is on the place of one that is like it."""
    near = np.linalg.norm(moved[:, None] - places, axis=2) < SAME_PLACE
    return bool((near & alike).any(1).all())
