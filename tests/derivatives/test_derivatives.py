"""Risk: a wrong sign, a lost image, a missing term in forces, virials, H·v or Hessians."""

from types import SimpleNamespace

import ase
import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from ase.calculators.lj import LennardJones as AseLennardJones

from hesspot import derivatives
from hesspot.contract import build_batch
from hesspot.derivatives import evaluate, hessian, hvp
from hesspot.models.analytic import LennardJones
from hesspot.models.house import HouseConfig, HouseModel

STEP = 1e-4  # Å; central differences of step h err by h² times the third derivative over six
FORCE_DIFFERENCE = 1e-6  # eV/Å, that truncation for random weights (forces of 0.1 to 10 eV/Å)
HESSIAN_DIFFERENCE = 2e-5  # eV/Å², the same for the next derivative
ROUNDING = 1e-11  # eV, eV/Å, eV/Å²: float64 sums in another order
SIGNAL = 1e-2  # what is compared must be larger than this, or the check could not fail


@pytest.fixture(scope="module")
def model() -> HouseModel:
    torch.manual_seed(1)
    model = HouseModel(HouseConfig(elements=["H", "C", "N", "O"], cutoff=4.0, hidden=[16]))
    model.shifts = [-1.0, -2.0, -3.0, -4.0]
    model.scale.fill_(20.0)
    return model.requires_grad_(False)


def batch_of(model, structures):
    return build_batch(structures, model.elements, model.cutoff)


def crystal() -> ase.Atoms:
    """Triclinic, all images within the cutoff: the cell is smaller than the cutoff."""
    cell = [[2.9, 0.0, 0.0], [0.4, 3.1, 0.0], [0.3, -0.5, 3.3]]
    return ase.Atoms("COH", cell=cell, scaled_positions=[[0, 0, 0], [0.45, 0.5, 0.4], [0.7, 0.2, 0.8]], pbc=True)


def slab() -> ase.Atoms:
    atoms = crystal()
    atoms.pbc = [True, False, True]
    return atoms


def bent() -> ase.Atoms:
    atoms = molecule("CH3OH")
    atoms.rattle(0.1, seed=3)
    return atoms


STRUCTURES = {"molecule": bent, "crystal smaller than the cutoff": crystal, "slab": slab}


@pytest.mark.parametrize("make", STRUCTURES.values(), ids=STRUCTURES.keys())
def test_forces_are_differences_of_the_energy(model, make):
    atoms = make()
    forces = evaluate(model, batch_of(model, [atoms])).forces.numpy()
    numerical = np.zeros_like(forces)
    for index in np.ndindex(forces.shape):
        energies = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[index] += sign * STEP
            energies.append(float(evaluate(model, batch_of(model, [moved])).energy))
        numerical[index] = (energies[1] - energies[0]) / (2 * STEP)
    assert np.abs(forces).max() > SIGNAL
    np.testing.assert_allclose(forces, numerical, atol=FORCE_DIFFERENCE, rtol=0)


@pytest.mark.parametrize("make", STRUCTURES.values(), ids=STRUCTURES.keys())
def test_hessian_is_differences_of_forces(model, make):
    atoms = make()
    (analytic,) = hessian(model, batch_of(model, [atoms]))
    numerical = np.zeros(analytic.shape)
    for column in range(3 * len(atoms)):
        forces = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions.flat[column] += sign * STEP
            forces.append(evaluate(model, batch_of(model, [moved])).forces.numpy().ravel())
        numerical[:, column] = (forces[1] - forces[0]) / (2 * STEP)
    assert np.abs(numerical).max() > SIGNAL
    np.testing.assert_allclose(analytic.numpy(), numerical, atol=HESSIAN_DIFFERENCE, rtol=0)


@pytest.mark.parametrize("make", STRUCTURES.values(), ids=STRUCTURES.keys())
def test_hessian_is_symmetric_and_blind_to_translation(model, make):
    (matrix,) = hessian(model, batch_of(model, [make()]))
    assert (matrix - matrix.T).abs().max() < ROUNDING
    assert matrix.reshape(matrix.shape[0], -1, 3).sum(1).abs().max() < ROUNDING


def test_virial_is_the_derivative_by_strain(model):
    atoms = crystal()
    result = evaluate(model, batch_of(model, [atoms]), virial=True, atom_virial=True)
    numerical = np.zeros((3, 3))
    for a, b in np.ndindex(3, 3):
        energies = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[a, b] += sign * STEP
            moved = atoms.copy()
            moved.set_cell(atoms.cell.array @ strain, scale_atoms=True)
            energies.append(float(evaluate(model, batch_of(model, [moved])).energy))
        numerical[a, b] = -(energies[0] - energies[1]) / (2 * STEP)
    assert np.abs(numerical).max() > SIGNAL
    np.testing.assert_allclose(result.virial[0].numpy(), numerical, atol=10 * FORCE_DIFFERENCE, rtol=0)
    np.testing.assert_allclose(result.atom_virial.sum(0).numpy(), result.virial[0].numpy(), atol=ROUNDING, rtol=0)


def test_atom_virial_carries_the_heat_of_a_moving_atom(model):
    """Fan's form: Σ_i W_i·v_i is what the moment Σ_i r_i E_i changes by when only atom a moves, less E_a v_a."""
    atoms = bent()
    velocity = np.array([0.3, -0.7, 0.5])
    moving = 4

    def moment(position_step: float) -> np.ndarray:
        moved = atoms.copy()
        moved.positions[moving] += position_step * velocity
        energies = evaluate(model, batch_of(model, [moved])).atom_energies.numpy()
        arms = atoms.positions - atoms.positions[moving]
        return arms.T @ energies

    result = evaluate(model, batch_of(model, [atoms]), atom_virial=True)
    numerical = (moment(STEP) - moment(-STEP)) / (2 * STEP)
    flux = result.atom_virial[moving].numpy() @ velocity
    assert np.abs(flux).max() > SIGNAL
    np.testing.assert_allclose(flux, numerical, atol=10 * FORCE_DIFFERENCE, rtol=0)


def test_products_are_the_hessian_times_the_directions(model):
    structures = [bent(), crystal(), molecule("H2O")]
    batch = batch_of(model, structures)
    directions = torch.randn(batch.n_atoms, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    product = hvp(model, batch, directions)
    expected = torch.block_diag(*hessian(model, batch)) @ directions.flatten()
    assert product.abs().max() > SIGNAL
    torch.testing.assert_close(product.flatten(), expected, atol=ROUNDING, rtol=0)


@pytest.mark.parametrize("max_edges", [1, 7, 50])
def test_chunks_change_nothing(model, max_edges):
    batch = batch_of(model, [bent(), crystal(), ase.Atoms("O"), molecule("H2O")])
    directions = torch.ones(batch.n_atoms, 3, dtype=torch.float64).cumsum(0)
    whole = evaluate(model, batch, virial=True)
    parts = evaluate(model, batch, virial=True, max_edges=max_edges)
    for name in ("energy", "atom_energies", "forces", "virial"):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name), atol=ROUNDING, rtol=0)
    torch.testing.assert_close(
        hvp(model, batch, directions, max_edges=max_edges), hvp(model, batch, directions), atol=ROUNDING, rtol=0
    )
    for one, other in zip(hessian(model, batch, max_edges=max_edges), hessian(model, batch), strict=True):
        torch.testing.assert_close(one, other, atol=ROUNDING, rtol=0)


def test_a_gpu_has_larger_portions(model, monkeypatch):
    """It takes some milliseconds for each, however small; without a GPU, the portions that are asked for are those of
    a processor."""
    batch = batch_of(model, [crystal()])
    monkeypatch.setattr(derivatives, "MAX_EDGES", 7)
    portions = []
    monkeypatch.setattr(type(batch), "chunks", lambda self, max_edges: portions.append(max_edges) or iter(()))
    derivatives.edge_gradient(model, batch)
    derivatives.edge_gradient(model, batch, max_edges=9)
    on_a_gpu = SimpleNamespace(vectors=SimpleNamespace(device=torch.device("cuda:1")))
    portions.append(derivatives.edges_at_once(on_a_gpu, None))
    assert portions == [7, 9, derivatives.MAX_EDGES_ON_A_GPU]


def test_a_small_cell_equals_its_supercell(model):
    atoms = crystal()
    large = atoms * (2, 2, 2)
    small = evaluate(model, batch_of(model, [atoms]))
    big = evaluate(model, batch_of(model, [large]))
    assert float(big.energy) == pytest.approx(8 * float(small.energy), abs=8 * ROUNDING)
    np.testing.assert_allclose(big.forces.numpy(), np.tile(small.forces.numpy(), (8, 1)), atol=ROUNDING, rtol=0)
    (folded,) = hessian(model, batch_of(model, [large]))
    folded = folded.reshape(8, 9, 8, 9)[0].sum(1)
    (direct,) = hessian(model, batch_of(model, [atoms]))
    torch.testing.assert_close(folded, direct, atol=10 * ROUNDING, rtol=0)


def test_atoms_without_neighbours(model):
    batch = batch_of(model, [ase.Atoms("O"), ase.Atoms("HC", positions=[[0, 0, 0], [0, 0, 50.0]])])
    result = evaluate(model, batch, virial=True)
    assert result.atom_energies.isfinite().all()
    assert float(result.energy[1]) == pytest.approx(float(result.atom_energies[1:].sum()))
    assert not result.forces.any() and not result.virial.any()
    assert [tuple(matrix.shape) for matrix in hessian(model, batch)] == [(3, 3), (6, 6)]
    assert not hvp(model, batch, torch.ones(3, 3, dtype=torch.float64)).any()


def test_no_structures_at_all(model):
    batch = batch_of(model, [])
    assert evaluate(model, batch).forces.shape == (0, 3)
    assert hessian(model, batch) == []


def test_lennard_jones_agrees_with_ase():
    epsilon, sigma, cutoff = 0.0104, 3.4, 7.0
    atoms = bulk("Ar", cubic=True, a=5.2) * (2, 1, 1)
    atoms.rattle(0.1, seed=4)
    matrices = [torch.full((1, 1), value, dtype=torch.float64) for value in (epsilon, sigma)]
    model = LennardJones(["Ar"], cutoff, *matrices)
    result = evaluate(model, batch_of(model, [atoms]), virial=True)
    oracle = AseLennardJones(epsilon=epsilon, sigma=sigma, rc=cutoff)
    atoms.calc = oracle
    # ASE shifts each pair's energy to zero at the cutoff; forces and stress have no shift.
    forces, stress = atoms.get_forces(), atoms.get_stress(voigt=False)
    assert np.abs(forces).max() > SIGNAL
    np.testing.assert_allclose(result.forces.numpy(), forces, atol=ROUNDING, rtol=0)
    np.testing.assert_allclose(-result.virial[0].numpy() / atoms.get_volume(), stress, atol=ROUNDING, rtol=0)
