"""Eigensolver and density of states, against full diagonalisation of a spring network."""

import numpy as np
import pytest
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from hesspot.errors import UserError
from hesspot.lammps.domains import (
    MOLECULE,
    DomainPreconditioner,
    affine_basis,
    domains_of,
    molecules_of,
    whole_molecules,
)
from hesspot.lammps.modes import (
    RESIDUAL,
    broadened,
    dense_modes,
    density_of_states,
    frequencies_of,
    highest_modes,
    lowest_modes,
)
from hesspot.units import SQRT_EV_PER_A2_AMU

#: The density is a mean over random vectors: this many of its own standard errors.
STANDARD_ERRORS = 5.0

N_ATOMS = 300


def network(softening: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Positions, masses, mass-weighted Hessian and translations of atoms with springs to all others within 3 Å.

    softening: curvature (eV/Å²) at right angles to the springs, negative as in a strained structure.
    """
    generator = np.random.default_rng(5)
    grid = np.stack(np.meshgrid(*[np.arange(7)] * 3, indexing="ij"), -1).reshape(-1, 3)[:N_ATOMS]
    positions = 2.0 * grid + generator.normal(0, 0.2, (N_ATOMS, 3))
    masses = generator.choice([1.0, 16.0], N_ATOMS)
    hessian = np.zeros((N_ATOMS, 3, N_ATOMS, 3))
    for i in range(N_ATOMS):
        for j in range(i):
            arm = positions[i] - positions[j]
            length = np.linalg.norm(arm)
            if length < 3.0:
                along = np.outer(arm, arm) / length**2
                spring = 10.0 / length**4 * along - softening * (np.eye(3) - along)
                hessian[i, :, i] += spring
                hessian[j, :, j] += spring
                hessian[i, :, j] -= spring
                hessian[j, :, i] -= spring
    scale = 1.0 / np.sqrt(np.repeat(masses, 3))
    matrix = hessian.reshape(3 * N_ATOMS, -1) * np.outer(scale, scale)
    rigid = np.stack([np.outer(np.sqrt(masses), axis).ravel() for axis in np.eye(3)]) / np.sqrt(masses.sum())
    return positions, masses, matrix, rigid


@pytest.mark.parametrize("softening", [0.0, 0.2])
def test_lowest_modes_are_those_of_full_diagonalisation(softening: float) -> None:
    positions, masses, matrix, rigid = network(softening)
    domains = domains_of(positions, np.arange(N_ATOMS))
    assert domains.max() > 1
    basis = affine_basis(positions, masses, domains)
    np.testing.assert_allclose((basis.T @ basis).toarray(), np.eye(basis.shape[1]), atol=1e-12)
    blocks = []
    for number in range(domains.max() + 1):
        where = np.flatnonzero(np.repeat(domains == number, 3))
        blocks.append(matrix[np.ix_(where, where)])
    preconditioner = DomainPreconditioner(domains, blocks, basis, basis.T @ matrix @ basis)
    found = lowest_modes(aslinearoperator(matrix), 12, rigid, preconditioner)
    exact = np.linalg.eigvalsh(matrix + 1e3 * rigid.T @ rigid)[:12]
    assert (exact[0] < -0.01) == (softening > 0)
    # an eigenvalue is as near as the residual, and the residuals are as small as they are said to be
    values = np.sign(found.frequencies) * (found.frequencies / SQRT_EV_PER_A2_AMU) ** 2
    np.testing.assert_allclose(values, exact, atol=RESIDUAL, rtol=0)
    defect = found.vectors @ matrix - values[:, None] * found.vectors
    assert np.linalg.norm(defect, axis=1).max() <= 1.01 * RESIDUAL
    np.testing.assert_allclose(found.vectors @ found.vectors.T, np.eye(12), atol=1e-9)
    np.testing.assert_allclose(found.vectors @ rigid.T, 0.0, atol=1e-9)


def test_domains_keep_molecules_whole_across_boundaries() -> None:
    generator = np.random.default_rng(3)
    cell = np.array([[20.0, 0, 0], [3.0, 20.0, 0], [1.0, 2.0, 20.0]])
    centers = generator.uniform(0, 1, (200, 3)) @ cell
    arms = np.array([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    fractions = (centers[:, None] + arms).reshape(-1, 3) @ np.linalg.inv(cell) % 1.0
    order = generator.permutation(600)
    positions, molecule = (fractions @ cell)[order], np.repeat(np.arange(200), 3)[order]
    bonds = np.array([np.flatnonzero(molecule == m)[[0, k]] for m in range(200) for k in (1, 2)])
    found = molecules_of(600, bonds)
    assert (
        (found[:, None] == found).sum() == ((molecule[:, None] == molecule) & (found[:, None] == found)).sum() == 1800
    )
    domain_of = domains_of(positions, found)
    assert 6 <= domain_of.max() + 1 <= 16
    assert np.bincount(domain_of).max() <= 100
    together = whole_molecules(positions, found, cell, np.ones(3, dtype=bool))
    for m in range(200):
        atoms = np.flatnonzero(molecule == m)
        assert len(set(domain_of[atoms])) == 1
        assert np.ptp(together[atoms], axis=0).max() < 2.0


def test_a_network_has_no_molecules() -> None:
    chain = np.stack([np.arange(MOLECULE + 1), np.arange(1, MOLECULE + 2)], axis=1)
    found = molecules_of(MOLECULE + 4, np.concatenate([chain, [[MOLECULE + 2, MOLECULE + 3]]]))
    assert len(set(found[: MOLECULE + 2])) == MOLECULE + 2
    assert found[MOLECULE + 2] == found[MOLECULE + 3]


def test_highest_and_all_modes() -> None:
    _, _, matrix, rigid = network()
    exact = frequencies_of(np.linalg.eigvalsh(matrix))
    np.testing.assert_allclose(highest_modes(aslinearoperator(matrix), 5).frequencies, exact[-5:], rtol=1e-10)
    np.testing.assert_allclose(dense_modes(matrix, rigid).frequencies[-500:], exact[-500:], rtol=1e-10)


def test_density_of_states_is_that_of_full_diagonalisation() -> None:
    _, _, matrix, rigid = network(0.05)
    exact = dense_modes(matrix, rigid).frequencies
    found = density_of_states(aslinearoperator(matrix), rigid, n_vectors=20, n_steps=200, width=40.0)
    integral = found.density.sum() * (found.frequencies[1] - found.frequencies[0])
    np.testing.assert_allclose(integral, len(exact), rtol=1e-6)
    reference = broadened(found.frequencies, exact, 40.0)
    allowed = STANDARD_ERRORS * found.error + 1e-3 * reference.max()
    assert (abs(found.density - reference) <= allowed).all()
    assert found.error.max() < 0.2 * reference.max()


def test_density_of_states_of_few_modes_needs_few_steps() -> None:
    matrix = np.diag([1.0, 4.0, 4.0, 9.0])
    found = density_of_states(aslinearoperator(matrix), np.zeros((0, 4)), n_vectors=400, n_steps=150, width=30.0)
    reference = broadened(found.frequencies, SQRT_EV_PER_A2_AMU * np.array([1.0, 2.0, 2.0, 3.0]), 30.0)
    assert (abs(found.density - reference) <= STANDARD_ERRORS * found.error + 1e-6).all()


def test_refusals() -> None:
    operator: LinearOperator = aslinearoperator(np.eye(3))
    with pytest.raises(UserError, match="must be positive"):
        density_of_states(operator, np.zeros((0, 3)), width=0.0)
