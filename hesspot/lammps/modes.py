"""Eigenvalues and the density of states of large mass-weighted Hessians, known by their products with vectors.

Operators are in eV/(Å² amu), in mass-weighted Cartesian coordinates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg, sparse
from scipy.sparse.linalg import LinearOperator, eigsh

from hesspot.errors import UserError
from hesspot.units import SQRT_EV_PER_A2_AMU

#: Largest residual |Dx − λx| of a lowest mode, eV/(Å² amu): a bound of the error of λ, 0.5 cm⁻² in terms of ν̃².
#: For a mode of 10 cm⁻¹ that is 0.02 cm⁻¹; the error itself goes with the residual's square.
RESIDUAL = 2e-6

#: Iterations after which the solver reports, after which it is given up, and blocks of vectors that it holds at most.
ROUND, LIMIT, KEPT = 20, 600, 6

#: Smallest distance to the wanted modes that the preconditioner takes for real, eV/(Å² amu): (5 cm⁻¹)².
SOFTEST = 1e-4

#: Atoms of a domain, and the largest number of domains.
DOMAIN, N_DOMAINS = 100, 300


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


def domains_of(positions: np.ndarray) -> np.ndarray:
    """(n,) number of each atom's domain: halves of halves along the longest extent, of at most `DOMAIN` atoms, or
    larger if there were more than `N_DOMAINS` of them."""
    largest = max(DOMAIN, len(positions) // N_DOMAINS)
    parts = [np.arange(len(positions))]
    finished = []
    while parts:
        part = parts.pop()
        if len(part) <= largest:
            finished.append(part)
            continue
        axis = int(np.argmax(np.ptp(positions[part], axis=0)))
        order = part[np.argsort(positions[part, axis], kind="stable")]
        parts += np.array_split(order, 2)
    domain_of = np.empty(len(positions), dtype=np.int64)
    for number, part in enumerate(finished):
        domain_of[part] = number
    return domain_of


def affine_basis(positions: np.ndarray, masses: np.ndarray, domain_of: np.ndarray) -> sparse.csr_array:
    """(3n, m) orthonormal columns: translations, rotations and strains of every domain on its own, mass-weighted."""
    rows, columns, values, first = [], [], [], 0
    for number in range(int(domain_of.max()) + 1):
        atoms = np.flatnonzero(domain_of == number)
        arms = positions[atoms] - positions[atoms].mean(0)
        moves = np.concatenate([np.ones((len(atoms), 1)), arms], axis=1) * np.sqrt(masses[atoms])[:, None]
        left, sizes, _ = np.linalg.svd(moves, full_matrices=False)
        left = left[:, sizes > 1e-6 * sizes.max()]
        for move in left.T:
            for axis in range(3):
                rows.append(3 * atoms + axis)
                columns.append(np.full(len(atoms), first))
                values.append(move)
                first += 1
    where = (np.concatenate(rows), np.concatenate(columns))
    return sparse.csr_array((np.concatenate(values), where), shape=(3 * len(positions), first))


class DomainPreconditioner:
    """About (D − σ)⁻¹ for any σ: Σ of the inverse within each domain and of that between the domains' own affine
    motions, a two-level additive Schwarz method (Smith, Bjørstad, Gropp, Domain Decomposition, 1996).

    blocks, coarse: D, the mass-weighted Hessian, within the domains and between the columns of `basis`.
    """

    def __init__(
        self, domain_of: np.ndarray, blocks: list[np.ndarray], basis: sparse.csr_array, coarse: np.ndarray
    ) -> None:
        self._coordinates = [
            (3 * np.flatnonzero(domain_of == number)[:, None] + np.arange(3)).ravel() for number in range(len(blocks))
        ]
        self._spectra = [np.linalg.eigh(0.5 * (block + block.T)) for block in blocks]
        self._basis = basis
        self._coarse = np.linalg.eigh(0.5 * (coarse + coarse.T))

    def apply(self, x: np.ndarray, shift: float, softest: float) -> np.ndarray:
        """(3n, m) → (3n, m), with σ = `shift`; eigenvalues nearer to it than `softest` count as that far."""
        result = np.asarray(self._basis @ _solved(self._coarse, self._basis.T @ x, shift, softest))
        for where, spectrum in zip(self._coordinates, self._spectra, strict=True):
            result[where] += _solved(spectrum, x[where], shift, softest)
        return result


def _solved(spectrum: Any, x: np.ndarray, shift: float, softest: float) -> np.ndarray:
    values, vectors = spectrum
    return np.asarray(vectors @ ((vectors.T @ x) / np.maximum(np.abs(values - shift), softest)[:, None]))


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
        start = generator.standard_normal(operator.shape[0])
        start -= rigid.T @ (rigid @ start)
        diagonal, beside = _lanczos(operator, start / np.linalg.norm(start), rigid, min(n_steps, n_modes))
        values, vectors = linalg.eigh_tridiagonal(diagonal, beside)
        nodes.append(frequencies_of(values))
        weights.append(n_modes * vectors[0] ** 2)
        report(f"random vector {number + 1} of {n_vectors}")
    lowest, highest = min(map(np.min, nodes)), max(map(np.max, nodes))
    grid = np.arange(lowest - 5 * width, highest + 5 * width, width / 4)
    curves = np.stack([broadened(grid, at, width, weight) for at, weight in zip(nodes, weights, strict=True)])
    error = curves.std(0, ddof=1) / np.sqrt(n_vectors) if n_vectors > 1 else np.full(len(grid), np.nan)
    return DensityOfStates(grid, curves.mean(0), error)


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
