"""Risk: a gradient of the loss that is not that of the model in torch, for some shape, term, structure or thread."""

import copy

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from hypothesis import given, settings
from hypothesis import strategies as st

from hesspot.contract import build_batch
from hesspot.derivatives import answers, differentiable
from hesspot.errors import UserError
from hesspot.kernel import KernelModel, instruction_sets
from hesspot.kernel.house_training import TrainedHouse, what_training_lacks
from hesspot.kernel.labelled import Labelled, LabelledGraph
from hesspot.models.core import core_within
from hesspot.models.ensemble import EnsembleConfig, HouseEnsemble
from hesspot.models.flat_weights import FlatWeights
from hesspot.models.house import HouseConfig, HouseModel

ROUNDING = 1e-10  # relative to the largest derivative: sums of some ten thousand float64 products in another order
DIFFERENCE = 1e-6  # relative: central differences with a step of 1e-5 of weights of about one
STEP = 1e-5
SIGNAL = 1e-2
ELEMENTS = ["H", "C", "N", "O"]


#: Much of `structures_of` is within it: pairs inside of the inner radius, and on the switch.
CORE = core_within(ELEMENTS, np.full((4, 4), 1.6), 4.0)


def make(members=None, seed=3, **changed):
    torch.manual_seed(seed)
    shape = {"elements": ELEMENTS, "cutoff": 4.0, "n_radial": 3, "n_channels": 2, "hidden": [7, 5], **changed}
    model = (
        HouseModel(HouseConfig(**shape)) if members is None else HouseEnsemble(EnsembleConfig(**shape, members=members))
    )
    model.shifts = [-13.0, -1030.0, -1480.0, -2040.0][: len(model.elements)]
    model.scale.fill_(3.0)
    model.mean.normal_()
    model.inverse_deviation.uniform_(0.5, 2.0)
    for network in model.networks:
        torch.nn.init.normal_(network.linear.weight, std=0.1)
    return model


def structures_of(model, seed=0):
    """A lone atom, a dimer beyond the cutoff, a crowded cell, and molecules."""
    crowded = Atoms(
        "COHN", cell=[2.2, 2.3, 2.1], pbc=True, scaled_positions=[[0, 0, 0], [0.5] * 3, [0.5, 0, 0.2], [0, 0.5, 0.4]]
    )
    structures = [molecule("CH3OH"), Atoms("O"), crowded, Atoms("HH", [[0, 0, 0], [0, 0, 4.1]]), molecule("HCN")]
    for atoms in structures:
        atoms.rattle(0.1, seed=seed)
    return [build_batch([atoms], model.elements, model.cutoff) for atoms in structures]


#: Factors of the terms in the loss, and of each direction.
FACTORS = {"energy": 0.7, "forces": 1.3, "hessian": 900.0, "stress": 2.1}
SHARE = 0.4


def labels_of(model, graphs, terms, n_directions, seed=5):
    """Random labels of each structure, of the terms that are asked for, and weights of the members."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(shape, dtype=torch.float64, generator=generator)

    labels = []
    for graph in graphs:
        size = 3 * graph.n_atoms
        energy = float(differentiable(model, graph, forces=False).energy.detach()) + float(random(1))
        own = {"energy": energy, "member_weights": random(model.n_members).abs()}
        if "forces" in terms:
            own["forces"] = random(graph.n_atoms, 3)
        if "stress" in terms:
            own["virial"] = random(3, 3)
        if "hessian" in terms:
            own |= {"directions": random(n_directions, size), "products": random(n_directions, size)}
        labels.append(own)
    return labels


def loss_in_torch(model, graphs, labels, terms):
    """As hesspot_kernel.h states it."""
    total = 0.0
    for graph, own in zip(graphs, labels, strict=True):
        n, directions = graph.n_atoms, own.get("directions")
        asked = {"forces": "forces" in own, "virial": "virial" in own}
        if directions is not None:
            asked["directions"] = directions.view(-1, n, 3)
        found = answers(model, graph, **asked).members
        for weight, answer in zip(own["member_weights"], found, strict=True):
            value = 0.0
            if "energy" in terms:
                value = value + FACTORS["energy"] * (answer.energy - own["energy"]).square().sum() / n
            if "forces" in own:
                value = value + FACTORS["forces"] * (answer.forces - own["forces"]).square().sum() / (3 * n)
            if "virial" in own:
                value = value + FACTORS["stress"] * (answer.virial[0] - own["virial"]).square().sum() / (9 * n)
            if directions is not None:
                errors = answer.hvp.reshape(directions.shape) - own["products"]
                value = value + FACTORS["hessian"] * SHARE * errors.square().sum() / (3 * n) ** 2
            total = total + weight / len(found) * value
    return total


def by_torch(model, graphs, labels, terms):
    model.zero_grad(set_to_none=False)
    loss_in_torch(model, graphs, labels, terms).backward()
    return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in model.parameters()]


def by_kernel(model, graphs, labels, terms, threads=1, max_edges=10**6):
    trained = trained_by_kernel(model, threads)
    laid_out = [LabelledGraph(graph, **own) for graph, own in zip(graphs, labels, strict=True)]
    structures = (Labelled * len(graphs))(*(each.values for each in laid_out))
    for structure, own in zip(structures, labels, strict=True):
        for name, factor in FACTORS.items():
            setattr(structure, f"of_{name}", factor if name in terms else 0.0)
        structure.n_directions, structure.direction_share = len(own.get("directions", ())), SHARE
    trained.add_loss_gradient(structures, max_edges)
    return [p.grad.clone() for p in model.parameters()]


def trained_by_kernel(model, threads=1):
    return TrainedHouse(model, FlatWeights(model.parameters(), model.matrices()), threads)


def assert_equal(model, graphs, terms, n_directions=1, max_edges=10**6):
    labels = labels_of(model, graphs, terms, n_directions)
    expected = by_torch(model, graphs, labels, terms)
    found = by_kernel(model, graphs, labels, terms, max_edges=max_edges)
    largest = max(float(each.abs().max()) for each in expected)
    assert largest > SIGNAL
    for (name, _), one, other in zip(model.named_parameters(), found, expected, strict=True):
        torch.testing.assert_close(
            one, other, rtol=0.0, atol=ROUNDING * largest, msg=lambda text, at=name: f"{at}: {text}"
        )


@pytest.mark.parametrize("instructions", ["avx512", "avx2", "baseline"])
@pytest.mark.parametrize("members", [None, 2])
@pytest.mark.parametrize(
    "terms",
    [("energy",), ("forces",), ("energy", "forces", "stress"), ("hessian",), ("energy", "forces", "hessian", "stress")],
)
def test_every_loss_has_the_gradient_of_torch(instructions, members, terms, monkeypatch):
    if instructions not in instruction_sets():
        pytest.skip(f"this processor has no {instructions}")
    monkeypatch.setenv("HESSPOT_INSTRUCTIONS", instructions)
    for core in (None, CORE):
        model = make(members, core=core)
        assert_equal(model, structures_of(model), terms, n_directions=2)


@settings(max_examples=20, deadline=None)
@given(
    n_radial=st.integers(1, 9),
    n_channels=st.integers(1, 5),
    hidden=st.lists(st.integers(1, 17), min_size=1, max_size=4),
    members=st.sampled_from([None, 2, 3]),
    max_edges=st.sampled_from([1, 50, 10**6]),
    seed=st.integers(0, 1000),
)
def test_models_of_any_shape(n_radial, n_channels, hidden, members, max_edges, seed):
    model = make(members, seed, n_radial=n_radial, n_channels=n_channels, hidden=hidden)
    assert_equal(model, structures_of(model, seed), ("energy", "forces", "hessian"), max_edges=max_edges)


def test_the_gradient_is_that_of_differences():
    model = make()
    graphs, terms = structures_of(model), ("energy", "forces", "hessian")
    labels = labels_of(model, graphs, terms, 1)
    gradient = by_kernel(model, graphs, labels, terms)
    torch.manual_seed(0)
    tangents = [torch.randn_like(parameter) for parameter in model.parameters()]

    def loss_along(step):
        moved = copy.deepcopy(model)
        with torch.no_grad():
            for parameter, tangent in zip(moved.parameters(), tangents, strict=True):
                parameter.add_(step * tangent)
        return float(loss_in_torch(moved, graphs, labels, terms))

    expected = sum(float((g * t).sum()) for g, t in zip(gradient, tangents, strict=True))
    assert abs(expected) > SIGNAL
    assert (loss_along(STEP) - loss_along(-STEP)) / (2 * STEP) == pytest.approx(expected, rel=DIFFERENCE)


@pytest.mark.parametrize("terms", [("energy", "forces"), ("energy", "forces", "hessian")])
def test_threads_give_the_same_bits(terms):
    model = make(members=2)
    structures = [molecule(name) for name in ("CH3OH", "HCN", "C6H6") for _ in range(12)]
    for seed, atoms in enumerate(structures):
        atoms.rattle(0.1, seed=seed)
    graphs = [build_batch([atoms], model.elements, model.cutoff) for atoms in structures]
    labels = labels_of(model, graphs, terms, 1)
    found = [by_kernel(model, graphs, labels, terms, threads) for threads in (1, 2, 5)]
    for others in found[1:]:
        assert all(torch.equal(one, other) for one, other in zip(found[0], others, strict=True))


def test_the_weights_are_those_of_now():
    model = make()
    graphs = structures_of(model)
    labels = labels_of(model, graphs, ("energy",), 1)
    trained = trained_by_kernel(model)
    laid_out = [LabelledGraph(graph, **own) for graph, own in zip(graphs, labels, strict=True)]
    structures = (Labelled * len(graphs))(*(each.values for each in laid_out))
    before, *_ = trained.add_loss_gradient(structures, 10**6)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.01)
    after, *_ = trained.add_loss_gradient(structures, 10**6)
    errors = [
        float((differentiable(model, g).energy - own["energy"]) ** 2) / g.n_atoms
        for g, own in zip(graphs, labels, strict=True)
    ]
    assert abs(after - before) > SIGNAL
    assert after == pytest.approx(sum(errors), rel=ROUNDING)


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"n_atoms": 0}, "0 atoms"),
        ({"n_atoms": 2}, "must rise and be among the 2 atoms"),
        ({"n_directions": 2}, "need a Hessian"),
        ({"n_directions": -1}, "-1 directions"),
    ],
)
def test_structures_that_cannot_be_are_refused(changed, word):
    model = make()
    graph = structures_of(model)[0]
    laid_out = LabelledGraph(graph, -3000.0)
    structures = (Labelled * 1)(laid_out.values)
    for name, value in changed.items():
        setattr(structures[0], name, value)
    with pytest.raises(UserError, match=word):
        trained_by_kernel(model).add_loss_gradient(structures, 10**6)


def test_an_edge_to_no_atom_is_refused():
    model = make()
    graph = structures_of(model)[0]
    graph.neighbors[3] = graph.n_atoms
    laid_out = LabelledGraph(graph, -3000.0)
    with pytest.raises(UserError, match="edge 3 ends at atom 6, but there are 6"):
        trained_by_kernel(model).add_loss_gradient((Labelled * 1)(laid_out.values), 10**6)


def test_what_cannot_be_trained_is_said():
    assert "house models" in what_training_lacks(torch.nn.Linear(1, 1))
    assert "float64" in what_training_lacks(make().float())
    assert what_training_lacks(make(members=2)) is None
    unusual = make()
    unusual.envelope_power = 5
    assert "envelope" in what_training_lacks(unusual)
    with pytest.raises(UserError, match=r"torch\.float64"):
        KernelModel.of(make()).set_weights(torch.zeros(3, dtype=torch.float64))
    with pytest.raises(UserError, match="has no weights to give"):
        KernelModel.of(make(), torch.float32).set_weights(torch.zeros(0, dtype=torch.float64))
    with pytest.raises(UserError, match="weight 1 has no place -1"):
        KernelModel.of(make()).place_weights(torch.arange(10**5) - 2 * (torch.arange(10**5) == 1))
