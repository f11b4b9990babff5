"""Eigenvalues and the density of states of large mass-weighted Hessians, known by their products with vectors.

Operators are in eV/(Å² amu), in mass-weighted Cartesian coordinates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import linalg
from scipy.sparse.linalg import LinearOperator, eigsh

from hesspot.errors import UserError
from hesspot.lammps.domains import DomainPreconditioner
from hesspot.units import SQRT_EV_PER_A2_AMU

#: Largest residual |Dx − λx| of a lowest mode, eV/(Å² amu): a bound of the error of λ, 0.5 cm⁻² in terms of ν̃².
#: For a mode of 10 cm⁻¹ that is 0.02 cm⁻¹; the error itself goes with the residual's square.
RESIDUAL = 2e-6

#: Iterations after which the solver reports, after which it is given up, and blocks of vectors that it holds at most.
ROUND, LIMIT, KEPT = 20, 600, 6

#: Smallest distance to the wanted modes that the preconditioner takes for real, eV/(Å² amu): (5 cm⁻¹)².
SOFTEST = 1e-4


@dataclass(frozen=True)
class Modes:
    """Some modes in ascending order.

    frequencies (k,) cm⁻¹, imaginary ones negative; vectors (k, 3n), orthonormal, mass-weighted; residuals (k,)
    |Dx − λx|, eV/(Å² amu).
    """

    frequencies: np.ndarray
    vectors: np.ndarray
    residuals: np.ndarray


def frequencies_of(eigenvalues: np.ndarray) -> np.ndarray:
    """cm⁻¹ from eV/(Å² amu); imaginary ones negative."""
    return np.asarray(np.sign(eigenvalues) * np.sqrt(np.abs(eigenvalues)) * SQRT_EV_PER_A2_AMU)


def dense_modes(matrix: np.ndarray, rigid: np.ndarray) -> Modes:
    """All modes of a symmetric (3n, 3n) matrix, at right angles to `rigid` (r, 3n), orthonormal."""
    basis = np.linalg.qr(rigid.T, mode="complete")[0][:, len(rigid) :] if len(rigid) else np.eye(len(matrix))
    values, mixing = np.linalg.eigh(basis.T @ matrix @ basis)
    vectors = (basis @ mixing).T
    inside = vectors @ matrix
    inside -= inside @ rigid.T @ rigid
    return Modes(frequencies_of(values), vectors, np.linalg.norm(inside - values[:, None] * vectors, axis=1))


def lowest_modes(
    operator: LinearOperator,
    count: int,
    rigid: np.ndarray,
    preconditioner: DomainPreconditioner,
    report: Callable[[str], None] = lambda message: None,
) -> Modes:
    """The `count` lowest modes at right angles to `rigid` (r, 3n), to residuals of `RESIDUAL`; UserError if they are
    not reached.

    A block Davidson method with restarts that keep the last two blocks (Stathopoulos, Saad, Electron. Trans. Numer.
    Anal. 7, 163, 1998): SciPy's LOBPCG, which needs no such restarts, breaks down on Hessians of saddle points.
    """

    def orthonormal(new: np.ndarray, basis: np.ndarray) -> np.ndarray:
        for _ in range(2):
            new = new - rigid.T @ (rigid @ new)
            new = np.linalg.qr(new - basis @ (basis.T @ new))[0]
        return new

    size = operator.shape[0]
    width = min(count + max(5, count // 2), (size - len(rigid)) // KEPT)
    basis = orthonormal(np.random.default_rng(0).standard_normal((size, width)), np.zeros((size, 0)))
    images = operator.matmat(basis)
    before = np.zeros((size, 0))
    for iteration in range(1, LIMIT + 1):
        values, mixing = np.linalg.eigh(basis.T @ images)
        values, mixing = values[:width], mixing[:, :width]
        ritz, ritz_images = basis @ mixing, images @ mixing
        defect = ritz_images - ritz * values
        defect -= rigid.T @ (rigid @ defect)
        residuals = np.linalg.norm(defect[:, :count], axis=0)
        if iteration % ROUND == 0 or residuals.max() <= RESIDUAL:
            report(f"{iteration} iterations, largest residual {residuals.max():.1e} eV/(A^2 amu)")
        if residuals.max() <= RESIDUAL:
            return Modes(frequencies_of(values[:count]), ritz[:, :count].T.copy(), residuals)
        if basis.shape[1] + width > KEPT * width:
            last = orthonormal(before, ritz)
            basis = np.concatenate([ritz, last], axis=1)
            images = np.concatenate([ritz_images, operator.matmat(last)], axis=1)
        before = ritz
        softest = max(SOFTEST, values[count - 1] - values[0])
        new = orthonormal(preconditioner.apply(defect, values[0] - softest, softest), basis)
        basis = np.concatenate([basis, new], axis=1)
        images = np.concatenate([images, operator.matmat(new)], axis=1)
    raise UserError(
        f"the lowest {count} modes did not converge in {LIMIT} iterations (residual {residuals.max():.1e} instead of "
        f"{RESIDUAL:.0e} eV/(A^2 amu)); ask for a few more modes"
    )


def highest_modes(operator: LinearOperator, count: int) -> Modes:
    """The `count` highest modes, by ARPACK's implicitly restarted Lanczos method."""
    values, vectors = eigsh(
        operator, k=count, which="LA", v0=np.random.default_rng(0).standard_normal(operator.shape[0])
    )
    order = np.argsort(values)
    values, vectors = values[order], vectors[:, order]
    residuals = np.linalg.norm(operator.matmat(vectors) - values * vectors, axis=0)
    return Modes(frequencies_of(values), vectors.T.copy(), residuals)


@dataclass(frozen=True)
class DensityOfStates:
    """frequencies (m,) cm⁻¹, imaginary ones negative; density (m,) modes per cm⁻¹, its integral being the number of
    modes; error (m,) its standard error from the spread over the random vectors."""

    frequencies: np.ndarray
    density: np.ndarray
    error: np.ndarray


def density_of_states(
    operator: LinearOperator,
    rigid: np.ndarray,
    *,
    n_vectors: int = 20,
    n_steps: int = 300,
    width: float = 20.0,
    seed: int = 0,
    report: Callable[[str], None] = lambda message: None,
) -> DensityOfStates:
    """Density of the modes at right angles to `rigid` (r, 3n), each a Gaussian of standard deviation `width` (cm⁻¹).

    Stochastic Lanczos quadrature (Ubaru, Chen, Saad, SIAM J. Matrix Anal. Appl. 38, 1075, 2017): for each random
    vector, the eigenvalues of the tridiagonal matrix of `n_steps` Lanczos steps, weighted with the squares of the first
    components of its eigenvectors. Costs n_vectors · n_steps products. The steps must resolve the Gaussians: the
    eigenvalues are about as far apart as the range of frequencies over n_steps, which should be below `width`.
    """
    if n_vectors < 1 or n_steps < 1 or not width > 0:
        raise UserError(f"{n_vectors} vectors, {n_steps} steps, width {width}: all of these must be positive")
    generator = np.random.default_rng(seed)
    n_modes = operator.shape[0] - len(rigid)
    nodes, weights = [], []
    for number in range(n_vectors):
        found, parts = quadrature(operator, generator.standard_normal(operator.shape[0]), rigid, n_steps)
        nodes.append(found)
        weights.append(n_modes * parts)
        report(f"random vector {number + 1} of {n_vectors}")
    lowest, highest = min(map(np.min, nodes)), max(map(np.max, nodes))
    grid = np.arange(lowest - 5 * width, highest + 5 * width, width / 4)
    curves = np.stack([broadened(grid, at, width, weight) for at, weight in zip(nodes, weights, strict=True)])
    error = curves.std(0, ddof=1) / np.sqrt(n_vectors) if n_vectors > 1 else np.full(len(grid), np.nan)
    return DensityOfStates(grid, curves.mean(0), error)


def quadrature(
    operator: LinearOperator, start: np.ndarray, rigid: np.ndarray, n_steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies (k,) cm⁻¹ and weights (k,), whose sum is 1, that stand for the modes that a vector (3n,) consists of.

    Lanczos quadrature of `n_steps` products at right angles to `rigid`: exact for polynomials of the eigenvalues of a
    degree below 2k.
    """
    start = start - rigid.T @ (rigid @ start)
    n_modes = operator.shape[0] - len(rigid)
    diagonal, beside = _lanczos(operator, start / np.linalg.norm(start), rigid, min(n_steps, n_modes))
    values, vectors = linalg.eigh_tridiagonal(diagonal, beside)
    return frequencies_of(values), vectors[0] ** 2


def broadened(grid: np.ndarray, frequencies: np.ndarray, width: float, weights: np.ndarray | None = None) -> np.ndarray:
    """Σ of Gaussians of standard deviation `width` at `frequencies`, on `grid` (m,); each has area 1, or its weight."""
    gaussians = np.exp(-0.5 * ((grid[:, None] - frequencies) / width) ** 2) / (width * np.sqrt(2 * np.pi))
    return np.asarray(gaussians.sum(1) if weights is None else gaussians @ weights)


def _lanczos(
    operator: LinearOperator, start: np.ndarray, rigid: np.ndarray, n_steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Diagonal and subdiagonal of the tridiagonal matrix, with every vector orthogonalised against all before."""
    basis = np.empty((len(rigid) + n_steps + 1, len(start)))
    basis[: len(rigid)] = rigid
    basis[len(rigid)] = start
    diagonal: list[float] = []
    beside: list[float] = []
    for held in range(len(rigid) + 1, len(basis)):
        following = operator.matvec(basis[held - 1])
        scale = np.linalg.norm(following)
        diagonal.append(float(following @ basis[held - 1]))
        for _ in range(2):
            following = following - (basis[:held] @ following) @ basis[:held]
        length = float(np.linalg.norm(following))
        if length <= 1e-12 * scale:
            break
        beside.append(length)
        basis[held] = following / length
    return np.array(diagonal), np.array(beside[: len(diagonal) - 1])
