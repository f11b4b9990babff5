"""Structures turned onto another one."""

import numpy as np


def superposition(arms: np.ndarray, reference: np.ndarray, masses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rotations L·R (f, 3, 3) for which arms·L·R is nearest to a reference, as the two factors (W. Kabsch, Acta
    Cryst. A 32, 922, 1976; masses as weights). The first columns of L and rows of R are the longest axes.

    arms (f, n, 3) and reference (n, 3): Å, from the centre of mass; masses (n,).
    """
    left, _, right = np.linalg.svd(np.einsum("a,fax,ay->fxy", masses, arms, reference))
    left[:, :, 2] *= np.linalg.det(left @ right)[:, None]
    return left, right
