"""Curvature at a frame of any size, from exact Hessian products."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import linalg

#: A Lanczos vector that is this much shorter than its product ends the recurrence: the subspace is exhausted.
EXHAUSTED = 1e-12


def along(products: np.ndarray, directions: np.ndarray, masses: np.ndarray) -> float:
    """vᵀHv / vᵀMv in eV/(Å² amu) of directions v (n, 3), their products H·v (n, 3) eV/Å² and masses (n,) amu: the mean
    square of the frequencies of the motion, each weighted with its kinetic energy. It does not depend on |v|."""
    return float((directions * products).sum() / (masses[:, None] * directions**2).sum())


@dataclass(frozen=True, eq=False)
class Lowest:
    """An approximate lowest eigenpair of the mass-weighted Hessian D.

    value: eV/(Å² amu), an upper bound of the lowest eigenvalue; residual: |Dx − value·x|, within which of `value` there
    is an eigenvalue of D. vector (n, 3): x, normalised.
    """

    value: float
    residual: float
    vector: np.ndarray

    @property
    def atom(self) -> int:
        """The atom with the largest part of |x|²."""
        return int((self.vector**2).sum(1).argmax())


def lowest_curvature(product: Callable[[np.ndarray], np.ndarray], masses: np.ndarray, steps: int) -> Lowest:
    """The lowest Ritz pair of D = M^(−1/2) H M^(−1/2) after `steps` Lanczos steps, each one product H·v (n, 3).

    Every vector is orthogonalised against all before. The start is drawn with a fixed seed, so that equal frames give
    equal answers. As many steps as there are coordinates give the lowest eigenvalue itself.
    """
    weights = 1.0 / np.sqrt(np.repeat(masses, 3))
    size = len(weights)
    basis = np.empty((min(steps, size), size))
    start = np.random.default_rng(0).standard_normal(size)
    basis[0] = start / np.linalg.norm(start)
    diagonal: list[float] = []
    beside: list[float] = []
    while True:
        held = len(diagonal) + 1
        following = weights * product((weights * basis[held - 1]).reshape(-1, 3)).ravel()
        scale = float(np.linalg.norm(following))
        diagonal.append(float(following @ basis[held - 1]))
        for _ in range(2):
            following -= basis[:held].T @ (basis[:held] @ following)
        length = float(np.linalg.norm(following))
        if held == len(basis) or length <= EXHAUSTED * scale:
            break
        beside.append(length)
        basis[held] = following / length
    values, vectors = linalg.eigh_tridiagonal(np.array(diagonal), np.array(beside))
    found = vectors[:, 0] @ basis[: len(diagonal)]
    return Lowest(float(values[0]), length * abs(float(vectors[-1, 0])), found.reshape(-1, 3))
