"""Energy, forces and Hessian of harmonic bonds: labels that nothing in hesspot made."""

import numpy as np

K, R0 = 30.0, 1.0  # eV/Å², Å


def bonds(positions: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Energy, forces and Hessian of harmonic bonds between all atoms, from the textbook formula."""
    n = len(positions)
    energy, forces, hessian = 0.0, np.zeros((n, 3)), np.zeros((n, 3, n, 3))
    for i in range(n):
        for j in range(i + 1, n):
            arm = positions[j] - positions[i]
            r = np.linalg.norm(arm)
            unit = arm / r
            energy += 0.5 * K * (r - R0) ** 2
            forces[i] += K * (r - R0) * unit
            forces[j] -= K * (r - R0) * unit
            block = K * np.outer(unit, unit) + K * (r - R0) / r * (np.eye(3) - np.outer(unit, unit))
            hessian[i, :, i] += block
            hessian[j, :, j] += block
            hessian[i, :, j] -= block
            hessian[j, :, i] -= block
    return energy, forces, hessian.reshape(3 * n, 3 * n)
