"""Risk: arrays that the driver's loops in C++ read beyond their end, or take for what they are not."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hesspot.errors import UserError
from hesspot.kernel import KernelModel
from hesspot.models.house import HouseConfig, HouseModel
from ipi_driver.evaluation.edges import CFunction, Edges
from ipi_driver.evaluation.neighbors import build_edge_list
from ipi_driver.evaluation.results import EvaluationError
from ipi_driver.native import library

ROUNDING = 1e-12  # a few sums of numbers of about one
SIGNAL = 1e-2
CELL = 5.0 * np.eye(3)
POSITIONS = np.array([[0.1, 0.0, 0.0], [0.9, 0.2, 0.1], [0.3, 1.1, 4.8]])
SPECIES = np.array([1, 0, 0])
LIST = build_edge_list(POSITIONS, CELL, np.ones(3, dtype=bool), 3.0)


@pytest.fixture(scope="module")
def kernel():
    return KernelModel.of(HouseModel(HouseConfig(elements=["H", "O"], cutoff=2.5, hidden=[4])))


def edges_of(kernel, lists=(LIST, LIST), species=SPECIES, first=0, last=6, n_members=1):
    function = CFunction(*kernel.c_function("evaluate"), kernel) if kernel else None
    return Edges(list(lists), species, 2.5, 0.25, True, first, last, n_members, function)


def batch():
    return np.array([POSITIONS, POSITIONS + 0.01]), np.array([CELL, CELL])


@pytest.mark.parametrize(
    "changed, sentence",
    [
        ({"neighbors": LIST.neighbors.astype(np.int32)}, "neighbors of a list: int32"),
        ({"centers": LIST.centers.astype(np.float64)}, "centers of a list: float64"),
        ({"shifts": LIST.shifts.astype(np.int64)}, "shifts of a list: int64"),
        ({"shifts": LIST.shifts[:, :2]}, r"shifts of a list: float64 of shape \(\d+, 2\)"),
        ({"neighbors": LIST.neighbors[:-1]}, r"neighbors of a list: int64 of shape \(\d+,\), but"),
        ({"positions": LIST.positions[:2]}, r"positions of a list: float64 of shape \(2, 3\), but .* \(3, 3\)"),
        ({"cell": LIST.cell[0]}, "the cell of a list"),
        ({"neighbors": LIST.neighbors + 100}, r"neighbour \d+ of pair 0 is none of the 6 atoms"),
        ({"neighbors": LIST.neighbors - 100}, r"neighbour -\d+ of pair 0 is none of the 6 atoms"),
        ({"centers": LIST.centers[::-1]}, "not sorted by centre"),
    ],
)
def test_a_list_that_does_not_fit(kernel, changed, sentence):
    with pytest.raises(UserError, match=sentence):
        edges_of(kernel, [replace(LIST, **changed), LIST])


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ({"species": SPECIES.astype(np.int32)}, "species: int32"),
        ({"first": -1}, "centres -1 to 5 of 6 atoms"),
        ({"last": 7}, "centres 0 to 6 of 6 atoms"),
        ({"n_members": 0}, "2 structures of 3 atoms for 0 members"),
    ],
)
def test_a_task_that_does_not_fit(kernel, arguments, sentence):
    with pytest.raises(UserError, match=sentence):
        edges_of(kernel, **arguments)


@pytest.mark.parametrize("way", ["find", "evaluate"])
@pytest.mark.parametrize(
    "change, sentence",
    [
        (lambda p, c: (p.astype(np.float32), c), "positions: float32"),
        (lambda p, c: (p[:1], c), r"positions: float64 of shape \(1, 3, 3\), but .* \(2, 3, 3\)"),
        (lambda p, c: (p[0, 0], c), r"positions: float64 of shape \(3,\)"),
        (lambda p, c: (p, c[0]), r"cells: float64 of shape \(3, 3\)"),
    ],
)
def test_a_batch_that_does_not_fit(kernel, way, change, sentence):
    with pytest.raises(UserError, match=sentence):
        getattr(edges_of(kernel), way)(*change(*batch()), anyhow=True)


def test_the_kernel_says_what_it_refuses(kernel):
    """Its sentence comes through the driver's loops."""
    edges = edges_of(kernel, species=SPECIES + 6)
    with pytest.raises(UserError, match="species 7 of centre 0 is no element of the model; they are 0 to 1"):
        edges.evaluate(*batch(), anyhow=True)
    good = edges_of(kernel)
    assert np.isfinite(good.evaluate(*batch(), anyhow=True)).all()


def test_a_model_that_is_no_c_function_is_not_called():
    edges = edges_of(None)
    with pytest.raises(UserError, match="no C function"):
        edges.evaluate(*batch(), anyhow=True)


def test_sums_need_the_edges_that_were_found(kernel):
    edges = edges_of(kernel)
    edges.find(*batch(), anyhow=True)
    assert edges.n_near > 0
    energies, gradient = np.zeros((1, 6)), np.zeros((1, edges.n_near, 3))
    assert not edges.sum(energies, gradient).any()
    for wrong in (gradient[:, :-1], gradient[0], gradient.astype(np.float32), np.zeros((2, edges.n_near, 3))):
        with pytest.raises(UserError, match="gradient: float"):
            edges.sum(energies, wrong)
    with pytest.raises(UserError, match="energies: float64"):
        edges.sum(energies[:, :3], gradient)
    assert not edges.find(batch()[0] + 1.0, batch()[1], anyhow=False)
    with pytest.raises(UserError, match="gradient: float"):
        edges.sum(energies, gradient)


arrays = st.builds(
    lambda kind, shape, seed, low, high: np.random.default_rng(seed).integers(low, low + high, size=shape).astype(kind),
    st.sampled_from(["int64", "int64", "int32", "float64", "float64", "float32", "bool"]),
    st.sampled_from([(6,), (6, 3), (3, 3), (3,), (2, 3, 3), (0,), (0, 3), ()]),
    st.integers(0, 9),
    st.integers(-2, 1),
    st.integers(1, 9),
)


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["positions", "cell", "centers", "neighbors", "shifts"]), arrays, max_size=2),
    st.none() | arrays,
    st.tuples(st.none() | arrays, st.none() | arrays),
    st.integers(-1, 3),
    st.integers(2, 7),
)
def test_nothing_that_arrays_can_be_crashes(kernel, changed, species, given_batch, first, last):
    """Sums, or a sentence."""
    try:
        lists = [replace(LIST, **changed), LIST]
        edges = edges_of(kernel, lists, SPECIES if species is None else species, first, last)
        positions, cells = (own if other is None else other for own, other in zip(batch(), given_batch, strict=True))
        sums = edges.evaluate(positions, cells, anyhow=True)
    except UserError as error:
        assert len(str(error)) > 20
    else:
        assert sums is not None and sums.shape == (1, 2 * 19)


def test_structures_are_what_was_compiled(monkeypatch):
    """A member that Python takes to lie elsewhere, or another number of a status, is no silent misreading."""
    library.structures.cache_clear()
    text = library.library().hesspot_driver_layout()

    class Other:
        def hesspot_driver_layout(self):
            return self.text

    other = Other()
    monkeypatch.setattr(library, "library", lambda: other)
    for old, new, sentence in [
        (b"Task 224", b"Task 232", "Task in the compiled part"),
        (b"first_center i 16", b"first_center i 24", r"Task\.first_center in the compiled part"),
        (b"STALE 1", b"STALE 2", "Status in the compiled part"),
    ]:
        assert old in text
        other.text = text.replace(old, new)
        with pytest.raises(UserError, match=sentence):
            library.structures()
    other.text = text
    assert set(library.structures()) == {"Task", "Answer", "Window", "WorkerLane", "FrontLane"}


def test_lists_of_another_cell_do_not_hold():
    edges, positions, cells = edges_of(None), np.array([POSITIONS, POSITIONS]), np.array([CELL, CELL])
    assert edges.find(positions, cells, anyhow=False)
    assert not edges.find(positions, 0.99 * cells, anyhow=False)
    assert edges.find(positions, 0.99 * cells, anyhow=True)


def test_a_share_of_the_centres_has_their_part_of_the_sums():
    """Centres 2 to 4 of two structures: what they add, and nothing of what the others do."""
    rng = np.random.default_rng(3)
    positions, cells = batch()
    whole, share, rest = edges_of(None), edges_of(None, first=2, last=5), [edges_of(None, first=0, last=2)]
    rest.append(edges_of(None, first=5, last=6))
    for edges in (whole, share, *rest):
        assert edges.find(positions, cells, anyhow=False)
    energies, gradient = rng.standard_normal((1, 6)), rng.standard_normal((1, whole.n_near, 3))
    parts, begin = [], 0
    for edges in (rest[0], share, rest[1]):
        own = slice(begin, begin := begin + edges.n_near)
        np.testing.assert_array_equal(edges.vectors, whole.vectors[own])
        parts.append(edges.sum(energies[:, edges.first : edges.last], gradient[:, own]))
    assert min(abs(part).max() for part in parts) > SIGNAL
    np.testing.assert_allclose(sum(parts), whole.sum(energies, gradient), rtol=0, atol=ROUNDING)


def test_a_virial_that_is_not_finite_is_caught():
    """Forces that can still be represented, over a vector of 1.1 Å."""
    edges = edges_of(None, lists=(LIST,), last=3)
    assert edges.find(POSITIONS[None], CELL[None], anyhow=False)
    gradient = np.zeros((1, edges.n_near, 3))
    gradient[0, 1, 1] = 0.5 * np.finfo(float).max
    assert np.isfinite(edges.sum(np.zeros((1, 3)), gradient)).all()
    gradient[0, 1, 1] = 0.99 * np.finfo(float).max
    with pytest.raises(EvaluationError, match="virial"):
        edges.sum(np.zeros((1, 3)), gradient)
