"""Risk: a weight that means one thing with full Hessians and another with random directions; a wrong gradient."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from hesspot.data import Record
from hesspot.derivatives import evaluate, hessian
from hesspot.kernel.house_training import TrainedHouse
from hesspot.models.ensemble import EnsembleConfig
from hesspot.models.flat_weights import FlatWeights
from hesspot.models.house import HouseConfig
from hesspot.training import loss
from hesspot.training.config import HessianSection, LossSection
from hesspot.training.initialise import initial_model
from hesspot.training.samples import make_samples

ROUNDING = 1e-9  # relative: sums of some ten thousand float64 products
STEP = 1e-6  # of a weight
DIFFERENCE = 1e-5  # relative, central differences of the loss with that step
WEIGHTS = LossSection(energy=1.0, forces=0.7, hessian=0.3, stress=0.5)


@pytest.fixture(scope="module")
def samples(dataset):
    return make_samples(dataset.records[:5], dataset.elements, 4.0, "efh")


@pytest.fixture
def model(dataset, samples):
    return initial_model(HouseConfig(elements=dataset.elements, cutoff=4.0, n_radial=4, hidden=[6]), samples, seed=3)


def gradient(model, samples, mode, sampling, **changed):
    model.zero_grad()
    terms = loss.backward(
        model,
        samples,
        mode,
        changed.get("weights", WEIGHTS),
        sampling,
        torch.Generator().manual_seed(changed.get("seed", 0)),
        changed.get("max_edges", 10**6),
    )
    return terms, torch.cat([p.grad.flatten() for p in model.parameters()])


def test_terms_and_loss_are_what_the_documentation_says(model, samples):
    """Of one structure with a stress and four without: each mean is over the structures that have the label."""
    stressed = [replace(samples[0], virial=torch.arange(9.0, dtype=torch.float64).reshape(3, 3)), *samples[1:]]
    energy = forces = curvature = stress = 0.0
    for sample in stressed:
        n = sample.graph.n_atoms
        found, (matrix,) = evaluate(model, sample.graph, virial=True), hessian(model, sample.graph)
        energy += float(found.energy[0] - sample.energy) ** 2 / n
        forces += float(((found.forces - sample.forces) ** 2).sum()) / (3 * n)
        curvature += float(((matrix - sample.hessian) ** 2).sum()) / (3 * n) ** 2
        if sample.virial is not None:
            stress += float(((found.virial[0] - sample.virial) ** 2).sum()) / (9 * n)
    in_steps, _ = gradient(model, stressed, "efh", HessianSection(sampling="full"))
    for terms in (loss.evaluate_terms(model, stressed, "efh"), in_steps):
        assert terms.energy == pytest.approx(energy, rel=ROUNDING)
        assert terms.forces == pytest.approx(forces, rel=ROUNDING)
        assert terms.hessian == pytest.approx(curvature, rel=ROUNDING)
        assert terms.stress == pytest.approx(stress, rel=ROUNDING)
        assert (terms.structures, terms.with_hessian, terms.with_stress) == (5, 5, 1)


def test_the_loss_is_a_sum_of_means_over_those_that_have_the_label():
    terms = loss.LossTerms(
        energy=6.0, forces=8.0, hessian=9.0, stress=10.0, structures=2, with_hessian=3, with_stress=5
    )
    weights = LossSection(energy=2.0, forces=3.0, hessian=5.0, stress=7.0)
    assert [terms.total(weights, mode) for mode in ("e", "ef", "efh")] == [6.0, 32.0, 47.0]


def test_all_sign_vectors_together_give_the_full_hessian_loss(model, samples, monkeypatch):
    """The mean over every one of the 2^6 Rademacher directions of a diatomic is the expectation, exactly."""
    diatomic = [sample for sample in samples if sample.graph.n_atoms == 2][:1]
    signs = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=6)), dtype=torch.float64).reshape(64, 2, 3)
    full, full_gradient = gradient(model, diatomic, "efh", HessianSection(sampling="full"))
    monkeypatch.setattr(loss, "draw_directions", lambda *_: [signs])
    probed, probed_gradient = gradient(model, diatomic, "efh", HessianSection(sampling="probes", probes=64))
    assert full.hessian > 1.0
    assert probed.hessian == pytest.approx(full.hessian, rel=ROUNDING)
    torch.testing.assert_close(probed_gradient, full_gradient, rtol=0, atol=float(ROUNDING * full_gradient.abs().max()))


def test_all_rows_together_give_the_full_hessian_loss(model, samples, monkeypatch):
    diatomic = [sample for sample in samples if sample.graph.n_atoms == 2][:1]
    rows = (6**0.5 * torch.eye(6, dtype=torch.float64)).reshape(6, 2, 3)
    full, full_gradient = gradient(model, diatomic, "efh", HessianSection(sampling="full"))
    generator, config = torch.Generator().manual_seed(1), HessianSection(sampling="rows")
    drawn = {tuple(loss.draw_directions(diatomic, config, generator)[0].flatten().tolist()) for _ in range(100)}
    assert drawn == {tuple(row.flatten().tolist()) for row in rows}
    monkeypatch.setattr(loss, "draw_directions", lambda *_: [rows])
    found, found_gradient = gradient(model, diatomic, "efh", HessianSection(sampling="rows", probes=6))
    assert found.hessian == pytest.approx(full.hessian, rel=ROUNDING)
    torch.testing.assert_close(found_gradient, full_gradient, rtol=0, atol=float(ROUNDING * full_gradient.abs().max()))


@pytest.mark.parametrize("sampling", ["rows", "probes"])
def test_kept_directions_are_each_structures_own(samples, sampling):
    config = HessianSection(sampling=sampling, redraw=False)
    generator = torch.Generator().manual_seed(1)
    together = loss.draw_directions(samples, config, generator)
    apart = [loss.draw_directions([sample], config, generator)[0] for sample in samples]
    anew = loss.draw_directions(samples, HessianSection(sampling=sampling), generator)
    for kept in (apart, anew):
        same = all(torch.equal(one, other) for one, other in zip(together, kept, strict=True))
        assert same == (kept is apart)


@pytest.mark.parametrize("distribution", ["rademacher", "gaussian"])
def test_directions_have_variance_one_and_are_drawn_anew(samples, distribution):
    config = HessianSection(probes=20000, distribution=distribution)
    generator = torch.Generator().manual_seed(1)
    first, second = (loss.draw_directions(samples[:1], config, generator)[0][:, 0] for _ in range(2))
    covariance = torch.cov(first.T)
    assert not torch.equal(first, second)
    # five standard errors of a variance or covariance from 20000 draws: 5·√(2/20000)
    torch.testing.assert_close(covariance, torch.eye(3, dtype=torch.float64), atol=0.05, rtol=0)


SHAPE = {"cutoff": 4.0, "n_radial": 4, "n_channels": 3, "hidden": [6]}


@pytest.fixture(scope="module")
def partial(dataset):
    """A structure of each kind of label: a Hessian, two products, none, and a periodic one with a stress."""
    whole, known, bare, boxed = (vars(record) for record in dataset.records[1:5])
    random = np.random.default_rng(3)
    n = len(known["numbers"])
    directions = random.standard_normal((2, n, 3))
    products = (directions.reshape(2, -1) @ known["hessian"]).reshape(2, n, 3)
    records = [
        Record(**whole),
        Record(**{**known, "hessian": None, "directions": directions, "products": products}),
        Record(**{**bare, "hessian": None}),
        Record(**{**boxed, "hessian": None, "cell": 3.5 * np.eye(3), "pbc": [True] * 3, "stress": 0.02 * np.eye(3)}),
    ]
    return make_samples(records, dataset.elements, 4.0, "efh", "skip")


@pytest.fixture(params=[1, 3], ids=["model", "committee"])
def any_model(request, dataset, samples):
    """A model, or a committee of three."""
    if request.param == 1:
        return initial_model(HouseConfig(elements=dataset.elements, **SHAPE), samples, seed=3)
    return initial_model(EnsembleConfig(elements=dataset.elements, **SHAPE, members=request.param), samples, seed=3)


@pytest.mark.parametrize(
    ("mode", "sampling", "max_edges"),
    [
        ("e", HessianSection(), 10**6),
        ("ef", HessianSection(), 10**6),
        ("efh", HessianSection(sampling="full"), 10**6),
        ("efh", HessianSection(sampling="full"), 1),
        ("efh", HessianSection(probes=2), 10**6),
    ],
)
def test_gradient_is_the_difference_of_the_loss(any_model, partial, mode, sampling, max_edges):
    """With labels of all kinds, whole or column by column; of one model, and of a committee whose members weigh."""
    weights = torch.tensor([0.2, 1.1, 1.7], dtype=torch.float64)
    one_member = any_model.n_members == 1
    # for one model the weights are those of the loss that is logged
    weighed = partial if one_member else [replace(s, member_weights=weights.roll(s.number)) for s in partial]
    loss_of = logged_loss if one_member else loss_of_members
    gradient(any_model, weighed, mode, sampling, max_edges=max_edges)
    for parameter in (any_model.mix, any_model.networks[-1].layers[0].weight):
        index = int(parameter.grad.abs().argmax())
        analytic = float(parameter.grad.flatten()[index])
        values = parameter.data.view(-1)
        totals = []
        for sign in (1, -1):
            values[index] += sign * STEP
            totals.append(loss_of(any_model, weighed, mode, sampling))
            values[index] -= sign * STEP
        assert analytic == pytest.approx((totals[0] - totals[1]) / (2 * STEP), rel=DIFFERENCE)
        gradient(any_model, weighed, mode, sampling, max_edges=max_edges)


@pytest.mark.parametrize("max_edges", [10**6, 40])
@pytest.mark.parametrize("sampling", ["full", "rows", "probes"])
@pytest.mark.parametrize("metric", ["cartesian", "frequency"])
def test_the_kernel_gives_the_gradient_of_torch(any_model, dataset, partial, metric, sampling, max_edges):
    """Of all kinds of labels together; whole Hessians also in groups of few columns."""
    measured = make_samples(dataset.records[:3], dataset.elements, 4.0, "efh", metric=metric)
    counts = torch.tensor([0.2, 1.1, 1.7], dtype=torch.float64)
    samples = [*measured, *partial]
    if any_model.n_members > 1:
        samples = [replace(s, member_weights=counts.roll(s.number)) for s in samples]
    arguments = samples, "efh", WEIGHTS, HessianSection(sampling=sampling, probes=2)
    terms, expected = gradient(any_model, arguments[0], arguments[1], arguments[3], max_edges=max_edges)
    weights = FlatWeights(any_model.parameters(), any_model.matrices())
    kernel = TrainedHouse(any_model, weights)
    found = loss.backward(kernel, *arguments, torch.Generator().manual_seed(0), max_edges)
    assert (found.structures, found.with_hessian, found.with_stress) == (7, 5, 1)
    for name in ("energy", "forces", "hessian", "stress"):
        assert getattr(found, name) == pytest.approx(getattr(terms, name), rel=ROUNDING)
        assert getattr(terms, name) > 0.01
    own = torch.cat([p.grad.flatten() for p in any_model.parameters()])
    torch.testing.assert_close(own, expected, rtol=0, atol=float(ROUNDING * expected.abs().max()))


def logged_loss(model, samples, mode, sampling):
    return gradient(model, samples, mode, sampling)[0].total(WEIGHTS, mode)


def loss_of_members(committee, samples, mode, sampling):
    """The mean over members of their own weighted losses, each sample and member on its own, by the formula."""
    generator = torch.Generator().manual_seed(0)
    curved = [mode == "efh" and s.has_curvature for s in samples]
    probed = [i for i, s in enumerate(samples) if curved[i] and (sampling.sampling != "full" or s.hessian is None)]
    drawn = loss.draw_probes([samples[i] for i in probed], sampling, generator)
    probes = {i: probe.compared(samples[i]) for i, probe in zip(probed, drawn, strict=True)}
    n_stress = sum(s.virial is not None for s in samples)
    total = 0.0
    for number in range(committee.n_members):
        member = loss.Member(committee, number)
        for i, s in enumerate(samples):
            n = s.graph.n_atoms
            found = evaluate(member, s.graph, virial=True)
            value = WEIGHTS.energy * float(found.energy[0] - s.energy) ** 2 / n / len(samples)
            if mode != "e":
                value += WEIGHTS.forces * float((found.forces - s.forces).square().sum()) / (3 * n) / len(samples)
                if s.virial is not None:
                    value += WEIGHTS.stress * float((found.virial[0] - s.virial).square().sum()) / (9 * n) / n_stress
            if curved[i]:
                (matrix,) = hessian(member, s.graph)
                if i in probes:
                    directions, expected = probes[i]
                    products = (directions.reshape(-1, 3 * n) @ matrix).reshape(-1, n, 3)
                    square = float((products - expected).square().sum()) / len(products)
                else:
                    square = float((matrix - s.hessian).square().sum())
                value += WEIGHTS.hessian * square / (3 * n) ** 2 / sum(curved)
            total += float(s.member_weights[number]) * value / committee.n_members
    return total


@pytest.mark.parametrize("sampling", ["full", "probes"])
def test_shares_of_a_batch_add_up_to_the_whole(any_model, partial, sampling):
    """What several processes do; the last of five has nothing to do."""
    sampling = HessianSection(sampling=sampling)
    whole, whole_gradient = gradient(any_model, partial, "efh", sampling)
    any_model.zero_grad()
    terms = loss.LossTerms()
    for rank in range(5):
        generator = torch.Generator().manual_seed(0)
        terms.add(
            loss.backward(any_model, partial, "efh", WEIGHTS, sampling, generator, 10**6, share=slice(rank, None, 5))
        )
    summed = torch.cat([p.grad.flatten() for p in any_model.parameters()])
    torch.testing.assert_close(summed, whole_gradient, rtol=0, atol=float(ROUNDING * whole_gradient.abs().max()))
    assert vars(terms) == pytest.approx(vars(whole), rel=ROUNDING)


@pytest.fixture(scope="module")
def all_rows(samples):
    """A diatomic whose Hessian is known as six products, of directions of odd lengths."""
    (diatomic,) = [sample for sample in samples if sample.graph.n_atoms == 2][:1]
    directions = (torch.arange(1.0, 7.0, dtype=torch.float64).unsqueeze(1) * torch.eye(6)).reshape(6, 2, 3)
    products = (directions.reshape(6, 6) @ diatomic.hessian).reshape(6, 2, 3)
    positions = np.zeros((2, 3))
    positions[1] = -diatomic.graph.vectors[0] if diatomic.graph.centers[0] == 1 else diatomic.graph.vectors[0]
    record = Record(
        np.array([1, 1]) if diatomic.graph.species[0] == diatomic.graph.species[1] else np.array([8, 1]),
        positions,
        "rows",
        energy=diatomic.energy,
        forces=diatomic.forces.numpy(),
        directions=directions.numpy(),
        products=products.numpy(),
    )
    return diatomic, make_samples([record], ["H", "O"], 4.0, "efh")[0]


def test_products_of_all_rows_are_the_full_term(model, all_rows):
    whole, rows = all_rows
    full, full_gradient = gradient(model, [whole], "efh", HessianSection(sampling="full"))
    for way in (
        HessianSection(probes=6),
        HessianSection(probes=6, redraw=False),
        HessianSection(sampling="full", probes=6),
    ):
        found, found_gradient = gradient(model, [rows], "efh", way)
        assert found.hessian == pytest.approx(full.hessian, rel=ROUNDING)
        atol = float(ROUNDING * full_gradient.abs().max())
        torch.testing.assert_close(found_gradient, full_gradient, rtol=0, atol=atol)


def test_products_are_validated_without_a_full_hessian(model, all_rows, monkeypatch):
    whole, rows = all_rows
    expected = loss.evaluate_terms(model, [whole, whole], "efh")
    monkeypatch.delattr(loss, "hessian")
    found = loss.evaluate_terms(model, [rows, replace(rows, hessian=None)], "efh")
    assert vars(found) == pytest.approx(vars(expected), rel=ROUNDING)


def test_drawn_products_are_some_of_those_known(all_rows):
    _, rows = all_rows
    generator = torch.Generator().manual_seed(2)
    (probe,) = loss.draw_probes([rows], HessianSection(probes=4), generator)
    places = [next(i for i in range(6) if torch.equal(own, rows.directions[i])) for own in probe.directions]
    assert len(set(places)) == 4
    assert torch.equal(probe.products, rows.products[places])
    assert probe.directions.square().sum((1, 2)).tolist() == pytest.approx([6.0] * 4)


def test_small_groups_give_the_same_full_gradient(model, samples):
    _, whole = gradient(model, samples, "efh", HessianSection(sampling="full"))
    _, parts = gradient(model, samples, "efh", HessianSection(sampling="full"), max_edges=1)
    torch.testing.assert_close(parts, whole, rtol=0, atol=float(ROUNDING * whole.abs().max()))


def test_structures_without_hessian_can_be_mixed_in(model, samples, dataset):
    without = make_samples(dataset.records[5:7], dataset.elements, 4.0, "ef")
    bare = [replace(s, hessian=None) for s in without]
    terms, _ = gradient(model, [*samples, *bare], "efh", HessianSection())
    assert (terms.structures, terms.with_hessian) == (7, 5)


def test_evaluated_terms_are_those_of_the_loss(model, samples, partial):
    boxed = [sample for sample in partial if sample.virial is not None]
    terms, _ = gradient(model, [*samples, *boxed], "efh", HessianSection(sampling="full"))
    assert terms.with_stress == 1 and terms.stress > 1e-3
    for max_edges in (10**6, 5):
        assert vars(loss.evaluate_terms(model, [*samples, *boxed], "efh", max_edges)) == pytest.approx(
            vars(terms), rel=ROUNDING
        )
