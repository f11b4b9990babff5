"""Sum rules that every Hessian of an isolated molecule obeys, at any geometry."""

import numpy as np


def acoustic_defect(hessian: np.ndarray) -> float:
    """Largest |Σ_b H_ab| in eV/Å²: translations cost no force."""
    return float(np.abs(hessian.reshape(len(hessian), -1, 3).sum(axis=1)).max())


def rotational_defect(positions: np.ndarray, forces: np.ndarray, hessian: np.ndarray) -> float:
    """Largest violation in eV/Å of H·(e×r) = −e×F, r from the centroid, e along x, y, z.

    Forces turn with the molecule, so that labels of two different geometries fail.
    """
    centred = positions - positions.mean(axis=0)
    worst = 0.0
    for axis in np.eye(3):
        defect = hessian @ np.cross(axis, centred).ravel() + np.cross(axis, forces).ravel()
        worst = max(worst, float(np.abs(defect).max()))
    return worst
