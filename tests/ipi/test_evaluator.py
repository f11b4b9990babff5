"""The evaluator against derivatives computed from ASE structures, and its neighbour lists against fresh ones."""

import ase
import numpy as np
import pytest
import torch

from hesspot import derivatives
from hesspot.contract import build_batch
from hesspot.export import read_model
from hesspot.neighbors import find_edges
from ipi_driver.evaluation.evaluator import EvaluationError, Evaluator
from ipi_driver.evaluation.load import load_evaluator
from ipi_driver.evaluation.neighbors import EdgeListCache
from ipi_driver.settings import EvaluatorSettings
from ipi_driver.template import check_order, periodic_directions, read_template

#: The same float64 operations on vectors that may differ in their last bits.
ROUNDING = 1e-12

#: Float32 weights and vectors, forces of order 1 eV/Å.
SINGLE = 1e-5

SMALL_CELL = np.array([[3.1, 0.4, 0.2], [-0.5, 3.3, 0.3], [0.1, 0.2, 3.6]])


def reference(model, structures):
    result = derivatives.evaluate(model, build_batch(structures, model.elements, model.cutoff), virial=True)
    n = len(structures)
    return result.energy.numpy(), result.forces.numpy().reshape(n, -1, 3), result.virial.numpy()


def copies(molecule, positions, cells, pbc):
    return [ase.Atoms(molecule.numbers, positions=p, cell=c, pbc=pbc) for p, c in zip(positions, cells, strict=True)]


@pytest.mark.parametrize("pbc", [(False, False, False), (True, True, True), (True, False, True)])
def test_a_moving_batch_has_the_reference_values(house, molecule, rng, pbc):
    """Beads that wander, in a cell smaller than the cutoff that changes, in an order that changes."""
    model = read_model(house)
    evaluator = Evaluator(model, molecule.get_chemical_symbols(), pbc)
    positions = molecule.positions + 0.1 * rng.standard_normal((5, 4, 3))
    cells = np.tile(SMALL_CELL, (5, 1, 1))
    for step in range(12):
        positions = rng.permutation(positions + 0.03 * rng.standard_normal(positions.shape))
        if step > 5:
            cells = cells @ (np.eye(3) + 0.01 * rng.standard_normal((3, 3)))
        results = evaluator(positions, cells)
        wanted = reference(model, copies(molecule, positions, cells, pbc))
        for got, value in zip((results.energy, results.forces, results.virial), wanted, strict=True):
            np.testing.assert_allclose(got, value, rtol=0, atol=ROUNDING)
    assert evaluator.lists.built < 5 * 12


def test_repeated_structures_are_computed_once(house, molecule, rng):
    model = read_model(house)
    evaluator = Evaluator(model, molecule.get_chemical_symbols(), [False] * 3)
    distinct = molecule.positions + 0.1 * rng.standard_normal((3, 4, 3))
    order = [0, 1, 0, 2, 2, 2, 2, 2]
    results = evaluator(distinct[order], np.tile(np.eye(3), (8, 1, 1)))
    assert (evaluator.received, evaluator.evaluated) == (8, 3)
    for place, k in enumerate(order):
        np.testing.assert_array_equal(results.forces[place], results.forces[order.index(k)])
    np.testing.assert_allclose(
        results.energy, reference(model, copies(molecule, distinct[order], [np.eye(3)] * 8, False))[0], atol=ROUNDING
    )


def test_the_cell_of_a_molecule_does_not_matter(house, molecule):
    evaluator = Evaluator(read_model(house), molecule.get_chemical_symbols(), [False] * 3)
    one = evaluator(molecule.positions[None], np.zeros((1, 3, 3)))
    two = evaluator(molecule.positions[None], SMALL_CELL[None])
    np.testing.assert_allclose(one.forces, two.forces, rtol=0, atol=ROUNDING)


def test_single_precision_answers_in_float64(house, molecule):
    model = read_model(house)
    evaluator = Evaluator(read_model(house, dtype=torch.float32), molecule.get_chemical_symbols(), [False] * 3)
    results = evaluator(molecule.positions[None], np.eye(3)[None])
    assert {a.dtype for a in (results.energy, results.forces, results.virial)} == {np.dtype(np.float64)}
    np.testing.assert_allclose(results.forces, reference(model, [molecule])[1], rtol=0, atol=SINGLE)


def test_one_atom_has_an_energy_and_no_force(house):
    evaluator = Evaluator(read_model(house), ["O"], [False] * 3)
    results = evaluator(np.zeros((2, 1, 3)), np.zeros((2, 3, 3)))
    assert np.isfinite(results.energy).all()
    assert not results.forces.any()


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [((1, 0, 2), np.nan, "not finite"), ((1, 0), None, "on one place"), ((1, 3, 1), np.inf, "not finite")],
)
def test_a_structure_without_an_answer_is_named(house, molecule, place, value, words):
    evaluator = Evaluator(read_model(house), molecule.get_chemical_symbols(), [False] * 3)
    positions = np.tile(molecule.positions, (3, 1, 1))
    positions[place] = positions[1, 1] if value is None else value
    with pytest.raises(EvaluationError, match=words) as caught:
        evaluator(positions, np.tile(np.eye(3), (3, 1, 1)))
    assert caught.value.index == 1


@pytest.mark.parametrize("pbc", [(True, True, True), (True, False, True), (False, False, False)])
@pytest.mark.parametrize("cell", [np.nan, 0.0, 1e-3, 0.4, 1e9, 1e300])
@pytest.mark.parametrize("far", [1.0, 1e8, 1e18, 1e300, -np.inf])
def test_numbers_that_kill_a_neighbour_search_are_refused(house, molecule, pbc, cell, far):
    """Positions and cells of runs that blew up: an error, not a crash and no wait."""
    evaluator = Evaluator(read_model(house), molecule.get_chemical_symbols(), pbc)
    positions = molecule.positions.copy()
    positions[2] *= far
    if far == 1.0 and not any(pbc):
        assert np.isfinite(evaluator(positions[None], np.eye(3)[None] * cell).energy).all()
        return
    with pytest.raises(EvaluationError, match=r"what i-PI sent (has|is)"):
        evaluator(positions[None], np.eye(3)[None] * cell)


def test_a_number_that_the_model_cannot_give_is_caught(cliff):
    evaluator = Evaluator(read_model(cliff), ["H", "H"], [False] * 3)
    positions = np.array([[[0, 0, 0], [0, 0, 2.0]], [[0, 0, 0], [0, 0, 0.9]]])
    with pytest.raises(EvaluationError, match="not finite") as caught:
        evaluator(positions, np.tile(np.eye(3), (2, 1, 1)))
    assert caught.value.index == 1


@pytest.mark.parametrize("backend", ["kernel", "torchscript"])
def test_an_atom_that_is_lost_is_found_where_it_is_to_be(backend, house):
    """Also across a periodic face, where an image is a neighbour as good as any."""
    cell, atoms = np.diag([30.0, 30.0, 30.0]), np.array([[0.0, 0, 0], [0, 0, 1.0], [0, 0, 29.0]])
    lost = np.array([[0.0, 0, 0], [0, 0, 1.0], [0, 0, 15.0]])
    model = read_model(house, backend=backend)
    refusing = Evaluator(model, ["O", "H", "H"], [True] * 3, lone_refused=True)
    taking = Evaluator(model, ["O", "H", "H"], [True] * 3)
    cells = np.array([cell, cell])
    together = np.array([atoms, atoms + 0.01])
    np.testing.assert_array_equal(refusing(together, cells).energy, taking(together, cells).energy)
    with pytest.raises(EvaluationError, match="atom 2 has no neighbour within 4 Å") as caught:
        refusing(np.array([atoms, lost]), cells)
    assert caught.value.index == 1
    assert np.isfinite(taking(np.array([atoms, lost]), cells).energy).all()


@pytest.mark.parametrize("template", [[[0, 0, 0], [0, 0, 1.0]], [[0, 0, 0], [0, 0, 9.0]]])
def test_atoms_that_are_alone_in_the_template_may_be_so(template, house):
    """In i-PI's cell, of which the template says nothing."""
    atoms, said = ase.Atoms("OH", template), []
    settings = EvaluatorSettings(house, ("O", "H"), (True,) * 3, "float64", "cpu", 0.5, start=atoms)
    evaluator = load_evaluator(settings, said.append)
    far, cell = np.array([[[0, 0, 0], [0, 0, 9.0]]]), np.diag([30.0, 30.0, 30.0])[None]
    if template[1][2] > 4.0:
        assert np.isfinite(evaluator(far, cell).energy).all()
        assert any("lone atoms are taken" in line for line in said)
    else:
        with pytest.raises(EvaluationError, match="no neighbour"):
            evaluator(far, cell)


@pytest.mark.parametrize("strained", [False, True])
def test_lists_never_miss_a_pair(rng, strained):
    """Every pair that a fresh search finds is in the list that the cache gives, whatever has moved since."""
    cutoff = 4.0
    cache = EdgeListCache(cutoff, skin=0.6, pbc=np.array([True] * 3))
    cell = SMALL_CELL * 1.5
    positions = rng.uniform(0, 4.5, (6, 3))
    for _ in range(40):
        positions = positions + 0.05 * rng.standard_normal(positions.shape)
        if strained:
            cell = cell @ (np.eye(3) + 0.005 * rng.standard_normal((3, 3)))
        (edges,) = cache.find(positions[None], cell[None])
        vectors = positions[edges.neighbors] - positions[edges.centers] + edges.shifts @ cell
        near = np.linalg.norm(vectors, axis=1) < cutoff
        fresh = find_edges(positions, cell, np.array([True] * 3), cutoff)
        assert near.sum() == len(fresh[0])
        got = np.round(np.column_stack([edges.centers[near], edges.neighbors[near], vectors[near]]), 8)
        wanted = np.round(np.column_stack(fresh), 8)
        np.testing.assert_allclose(got[np.lexsort(got.T)], wanted[np.lexsort(wanted.T)], atol=1e-7)
    assert 1 < cache.built < 40


def test_atoms_that_stay_while_the_cell_shrinks_come_near_their_images():
    """Nothing moves but the cell: two atoms at opposite faces are 3.3 Å apart through the boundary, then 2.4 Å."""
    lists = EdgeListCache(2.5, 0.5, np.ones(3, dtype=bool))
    positions, wide, narrow = (
        np.array([[0.2, 0.0, 0.0], [16.9, 0.0, 0.0]]),
        np.diag([20.0] * 3),
        np.diag([19.1, 20, 20]),
    )
    (before,) = lists.find(positions[None], wide[None])
    assert len(before.centers) == 0
    assert not lists.fit([before], positions[None], narrow[None])
    (after,) = lists.find(positions[None], narrow[None])
    assert len(after.centers) == 2


def test_the_index_of_a_structure_without_an_answer_counts_all(house, molecule):
    """Also behind equal ones, and in a share of the centres that begins later."""
    evaluator = Evaluator(read_model(house), molecule.get_chemical_symbols(), [False] * 3)
    positions = np.tile(molecule.positions, (3, 1, 1))
    positions[2, 0] = positions[2, 1]
    cells = np.tile(np.eye(3), (3, 1, 1))
    n = len(molecule)
    for call in (lambda: evaluator(positions, cells), lambda: evaluator.part(positions, cells, 2 * n, 3 * n)):
        with pytest.raises(EvaluationError, match="on one place") as caught:
            call()
        assert caught.value.index == 2


@pytest.mark.parametrize("part", ["atoms", "cell"])
def test_what_comes_near_is_seen(house, part):
    """Two atoms a little farther apart than cutoff and skin come together, by themselves or with their cell."""
    model, skin = read_model(house), 2.0
    evaluator = Evaluator(model, ["O", "H"], [True] * 3, skin=skin)
    apart = model.cutoff + skin + 0.05
    positions, cell = np.array([[[0.1, 0.2, 0.3], [0.1 + apart, 0.2, 0.3]]]), 20.0 * np.eye(3)[None]
    assert not evaluator(positions, cell).forces.any()
    for step in range(1, 10):
        near, box = positions.copy(), cell.copy()
        if part == "atoms":
            near[0, :, 0] += 0.1 * step * skin * np.array([1.0, -1.0])
        else:
            near[0, :, 0] *= 1 - 0.06 * step
            box[0, 0] *= 1 - 0.06 * step
        results = evaluator(near, box)
        wanted = reference(model, [ase.Atoms("OH", near[0], cell=box[0], pbc=True)])
        np.testing.assert_allclose(results.forces, wanted[1], rtol=0, atol=ROUNDING)
    assert np.abs(results.forces).max() > 1e-4


def test_equal_atoms_in_other_cells_are_other_structures(house, molecule):
    model = read_model(house)
    evaluator = Evaluator(model, molecule.get_chemical_symbols(), [True] * 3)
    cells = np.stack([SMALL_CELL, 1.1 * SMALL_CELL, SMALL_CELL])
    positions = np.tile(molecule.positions, (3, 1, 1))
    results = evaluator(positions, cells)
    assert (evaluator.received, evaluator.evaluated) == (3, 2)
    wanted = reference(model, copies(molecule, positions, cells, True))
    np.testing.assert_allclose(results.energy, wanted[0], rtol=0, atol=ROUNDING)
    assert abs(results.energy[0] - results.energy[1]) > 1e-4


def test_a_list_serves_all_beads_near_it(rng):
    cache = EdgeListCache(4.0, skin=0.6, pbc=np.array([False] * 3))
    start = rng.uniform(0, 4.5, (6, 3))
    beads = start + 0.05 * rng.uniform(-1, 1, (32, 6, 3))
    cache.find(beads, np.tile(np.eye(3), (32, 1, 1)))
    assert cache.built == 1


@pytest.mark.parametrize(
    ("comment", "choice", "expected"),
    [
        ("", "auto", (True, True, True)),
        ("# CELL(abcABC): 50 50 50 90 90 90", "auto", (True, True, True)),
        ('Properties=species:S:1:pos:R:3 pbc="F F F"', "auto", (False, False, False)),
        ('Lattice="9 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3 pbc="T T F"', "auto", (True, True, False)),
        ('Lattice="9 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3', "auto", (True, True, True)),
        ("", "false", (False, False, False)),
        ('Properties=species:S:1:pos:R:3 pbc="F F F"', "true", (True, True, True)),
    ],
)
def test_periodic_directions_come_from_the_template(tmp_path, comment, choice, expected):
    path = tmp_path / "start.xyz"
    path.write_text(f"2\n{comment}\nH 0 0 0\nH 0 0 0.74\n")
    assert tuple(periodic_directions(read_template(path), path, choice)) == expected


def test_equal_elements_may_change_places(molecule):
    check_order(molecule, molecule.positions[[0, 1, 3, 2]])
