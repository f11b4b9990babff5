"""Risk: a gradient of the loss that is not that of the model in torch, for some shape, term, structure or thread."""

import pytest
import torch
from ase import Atoms
from ase.build import molecule
from hypothesis import given, settings
from hypothesis import strategies as st

from hesspot.contract import build_batch
from hesspot.derivatives import Differentiable, answers, differentiable
from hesspot.errors import UserError
from hesspot.kernel import KernelModel, instruction_sets
from hesspot.kernel.house_training import TrainedHouse, what_training_lacks
from hesspot.models.ensemble import EnsembleConfig, HouseEnsemble
from hesspot.models.flat_weights import FlatWeights
from hesspot.models.house import HouseConfig, HouseModel

ROUNDING = 1e-10  # relative to the largest derivative: sums of some ten thousand float64 products in another order
DIFFERENCE = 1e-6  # relative: central differences with a step of 1e-5 of weights of about one
STEP = 1e-5
SIGNAL = 1e-2
ELEMENTS = ["H", "C", "N", "O"]


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


def batch_of(model, seed=0):
    """A lone atom, a dimer beyond the cutoff, a crowded cell, and molecules."""
    crowded = Atoms(
        "COHN", cell=[2.2, 2.3, 2.1], pbc=True, scaled_positions=[[0, 0, 0], [0.5] * 3, [0.5, 0, 0.2], [0, 0.5, 0.4]]
    )
    structures = [molecule("CH3OH"), Atoms("O"), crowded, Atoms("HH", [[0, 0, 0], [0, 0, 4.1]]), molecule("HCN")]
    for atoms in structures:
        atoms.rattle(0.1, seed=seed)
    return build_batch(structures, model.elements, model.cutoff)


def random_loss(answers, terms, seed=5):
    """Of random labels, of the terms that are asked for, with another weight for each member; and its derivatives with
    respect to the answers."""
    generator = torch.Generator().manual_seed(seed)
    total, slopes = 0.0, []
    for number, answer in enumerate(answers, 1):
        own = {"energy": torch.zeros_like(answer.energy.detach())}
        for term in terms:
            values = getattr(answer, term).detach()
            labels = torch.randn(values.shape, dtype=torch.float64, generator=generator)
            if term == "energy":
                labels = labels + values.round()
            total = total + number * ((values - labels) ** 2).sum()
            own[term] = 2.0 * number * (values - labels)
        slopes.append(Differentiable(**own))
    return total, slopes


def gradients_of(model, trained, batch, terms, directions):
    """By the kernel, or with None for it by torch."""
    asked = {"forces": "forces" in terms, "virial": "virial" in terms}
    if "hvp" in terms:
        asked |= {"forces": True, "directions": directions}
    model.zero_grad(set_to_none=False)
    found = answers(model, batch, **asked) if trained is None else trained.answers(batch, **asked)
    loss, slopes = random_loss(found.members, terms)
    found.backward(slopes)
    return loss, [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in model.parameters()]


def trained_by_kernel(model, threads=1):
    return TrainedHouse(model, FlatWeights(model.parameters(), model.matrices()), threads)


def assert_equal(model, batch, terms, directions=None, threads=1):
    loss, expected = gradients_of(model, None, batch, terms, directions)
    mine, found = gradients_of(model, trained_by_kernel(model, threads), batch, terms, directions)
    largest = max(float(each.abs().max()) for each in expected)
    assert largest > SIGNAL
    torch.testing.assert_close(mine, loss, rtol=ROUNDING, atol=0.0)
    for (name, _), one, other in zip(model.named_parameters(), found, expected, strict=True):
        torch.testing.assert_close(
            one, other, rtol=0.0, atol=ROUNDING * largest, msg=lambda text, at=name: f"{at}: {text}"
        )


def directions_of(batch, count, seed=1):
    return torch.randn(count, batch.n_atoms, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("instructions", ["avx512", "avx2", "baseline"])
@pytest.mark.parametrize("members", [None, 2])
@pytest.mark.parametrize(
    "terms", [("energy",), ("forces",), ("energy", "forces", "virial"), ("hvp",), ("energy", "forces", "hvp", "virial")]
)
def test_every_loss_has_the_gradient_of_torch(instructions, members, terms, monkeypatch):
    if instructions not in instruction_sets():
        pytest.skip(f"this processor has no {instructions}")
    monkeypatch.setenv("HESSPOT_INSTRUCTIONS", instructions)
    model = make(members)
    batch = batch_of(model)
    assert_equal(model, batch, terms, directions_of(batch, 2))


@settings(max_examples=20, deadline=None)
@given(
    n_radial=st.integers(1, 9),
    n_channels=st.integers(1, 5),
    hidden=st.lists(st.integers(1, 17), min_size=1, max_size=4),
    members=st.sampled_from([None, 2, 3]),
    seed=st.integers(0, 1000),
)
def test_models_of_any_shape(n_radial, n_channels, hidden, members, seed):
    model = make(members, seed, n_radial=n_radial, n_channels=n_channels, hidden=hidden)
    batch = batch_of(model, seed)
    assert_equal(model, batch, ("energy", "forces", "hvp"), directions_of(batch, 1, seed))


def test_the_gradient_is_that_of_differences():
    model = make()
    batch = batch_of(model)
    directions, terms = directions_of(batch, 1), ("energy", "forces", "hvp")
    trained = trained_by_kernel(model)

    def loss_along(tangents, step):
        with torch.no_grad():
            for parameter, tangent in zip(model.parameters(), tangents, strict=True):
                parameter.add_(step * tangent)
        found = trained.answers(batch, directions=directions).members
        with torch.no_grad():
            for parameter, tangent in zip(model.parameters(), tangents, strict=True):
                parameter.sub_(step * tangent)
        return float(random_loss(found, terms)[0])

    _, gradient = gradients_of(model, trained, batch, terms, directions)
    torch.manual_seed(0)
    tangents = [torch.randn_like(parameter) for parameter in model.parameters()]
    expected = sum(float((g * t).sum()) for g, t in zip(gradient, tangents, strict=True))
    difference = (loss_along(tangents, STEP) - loss_along(tangents, -STEP)) / (2 * STEP)
    assert abs(expected) > SIGNAL
    assert difference == pytest.approx(expected, rel=DIFFERENCE)


@pytest.mark.parametrize("terms", [("energy", "forces"), ("energy", "forces", "hvp")])
def test_threads_give_the_same_bits(terms):
    model = make(members=2)
    structures = [molecule(name) for name in ("CH3OH", "HCN", "C6H6") for _ in range(12)]
    for seed, atoms in enumerate(structures):
        atoms.rattle(0.1, seed=seed)
    batch = build_batch(structures, model.elements, model.cutoff)
    found = [
        gradients_of(model, trained_by_kernel(model, threads), batch, terms, directions_of(batch, 1))[1]
        for threads in (1, 2, 5)
    ]
    for others in found[1:]:
        assert all(torch.equal(one, other) for one, other in zip(found[0], others, strict=True))


def test_the_weights_are_those_of_now():
    model = make()
    batch = batch_of(model)
    trained = trained_by_kernel(model)
    before = trained.answers(batch).members[0].energy
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.01)
    after = trained.answers(batch).members[0].energy
    assert (after - before).abs().max() > SIGNAL
    torch.testing.assert_close(after, differentiable(model, batch).energy.detach(), rtol=ROUNDING, atol=0.0)


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
