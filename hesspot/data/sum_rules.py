"""Sum rules that every Hessian of an isolated molecule obeys, at any geometry."""

import numpy as np

#: e×r = r @ _TURN for e along x, y, z.
_TURN = np.array([np.cross(axis, np.eye(3)) for axis in np.eye(3)])


def acoustic_defect(hessian: np.ndarray) -> float:
    """Largest |Σ_b H_ab| in eV/Å²: translations cost no force."""
    return float(np.abs(hessian.reshape(len(hessian), -1, 3).sum(axis=1)).max())


def rotational_defect(positions: np.ndarray, forces: np.ndarray, hessian: np.ndarray) -> float:
    """Largest violation in eV/Å of H·(e×r) = −e×F, r from the centroid, e along x, y, z.

    Forces turn with the molecule, so that labels of two different geometries fail.
    """
    turns = turned(positions - positions.mean(axis=0))
    return float(np.abs(turns @ hessian + turned(forces)).max())


def turned(vectors: np.ndarray) -> np.ndarray:
    """e×v of (n, 3) vectors for e along x, y, z: (3, 3n)."""
    return (vectors @ _TURN).reshape(3, -1)
