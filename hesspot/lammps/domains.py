"""The preconditioner of the lowest modes: small domains solved exactly, and their motions against each other.

Atoms that are bound stay together, since a domain that moves away from half of a molecule stretches its bonds and knows
nothing of soft modes any more: lowest modes of liquid water need less than half of the iterations that domains of
single atoms need.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ase.geometry import find_mic
from scipy import sparse
from scipy.sparse.csgraph import connected_components

#: Atoms of a domain, and the largest number of domains.
DOMAIN, N_DOMAINS = 100, 300

#: Two atoms are bound if their block of the Hessian has a larger Frobenius norm, eV/Å²: half of what the weakest
#: covalent single bonds have, several times that of a hydrogen bond.
BOND = 10.0

#: A larger molecule is a network or a polymer, and may be cut anywhere.
MOLECULE = 25


def molecules_of(n_atoms: int, bonds: np.ndarray) -> np.ndarray:
    """(n,) number of each atom's molecule. bonds: (k, 2) pairs of atoms; what they bind to more than `MOLECULE` atoms
    counts as single atoms."""
    graph = sparse.coo_array((np.ones(len(bonds)), (bonds[:, 0], bonds[:, 1])), shape=(n_atoms, n_atoms))
    _, molecule_of = connected_components(graph, directed=False)
    large = (np.bincount(molecule_of) > MOLECULE)[molecule_of]
    molecule_of[large] = molecule_of.max(initial=-1) + 1 + np.arange(large.sum())
    return np.unique(molecule_of, return_inverse=True)[1]


def whole_molecules(
    positions: np.ndarray, molecule_of: np.ndarray, cell: np.ndarray, periodic: np.ndarray
) -> np.ndarray:
    """(n, 3) the images of the atoms that are next to their molecule's first atom; cell (3, 3), rows are vectors."""
    first = np.unique(molecule_of, return_index=True)[1][molecule_of]
    return np.asarray(positions[first] + find_mic(positions - positions[first], cell, periodic)[0])


def domains_of(positions: np.ndarray, molecule_of: np.ndarray) -> np.ndarray:
    """(n,) number of each atom's domain: halves of halves along the longest extent, of at most `DOMAIN` atoms, or
    larger if there were more than `N_DOMAINS` of them; molecules stay whole."""
    first, sizes = np.unique(molecule_of, return_index=True, return_counts=True)[1:]
    centers = positions[first]
    largest = max(DOMAIN, len(positions) // N_DOMAINS)
    parts = [np.arange(len(first))]
    finished = []
    while parts:
        part = parts.pop()
        if sizes[part].sum() <= largest or len(part) == 1:
            finished.append(part)
            continue
        axis = int(np.argmax(np.ptp(centers[part], axis=0)))
        order = part[np.argsort(centers[part, axis], kind="stable")]
        atoms = np.cumsum(sizes[order])
        half = min(int(np.searchsorted(atoms, 0.5 * atoms[-1])) + 1, len(order) - 1)
        parts += [order[:half], order[half:]]
    domain_of = np.empty(len(first), dtype=np.int64)
    for number, part in enumerate(finished):
        domain_of[part] = number
    return domain_of[molecule_of]


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
