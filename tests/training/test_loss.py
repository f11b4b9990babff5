"""Risk: a weight that means one thing with full Hessians and another with random directions; a wrong gradient."""

import itertools
from dataclasses import replace

import pytest
import torch

from hesspot.models.house import HouseConfig
from hesspot.training import loss
from hesspot.training.config import HessianSection, LossSection
from hesspot.training.initialise import initial_model
from hesspot.training.samples import make_samples

ROUNDING = 1e-9  # relative: sums of some ten thousand float64 products
STEP = 1e-6  # of a weight
DIFFERENCE = 1e-5  # relative, central differences of the loss with that step
WEIGHTS = LossSection(energy=1.0, forces=0.7, hessian=0.3)


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


def test_all_sign_vectors_together_give_the_full_hessian_loss(model, samples, monkeypatch):
    """The mean over every one of the 2^6 Rademacher directions of a diatomic is the expectation, exactly."""
    diatomic = [sample for sample in samples if sample.graph.n_atoms == 2][:1]
    signs = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=6)), dtype=torch.float64).reshape(64, 2, 3)
    full, full_gradient = gradient(model, diatomic, "efh", HessianSection(sampling="full"))
    monkeypatch.setattr(loss, "draw_directions", lambda *_: signs)
    probed, probed_gradient = gradient(model, diatomic, "efh", HessianSection(sampling="probes", probes=64))
    assert full.hessian > 1.0
    assert probed.hessian == pytest.approx(full.hessian, rel=ROUNDING)
    torch.testing.assert_close(probed_gradient, full_gradient, rtol=0, atol=float(ROUNDING * full_gradient.abs().max()))


def test_all_rows_together_give_the_full_hessian_loss(model, samples, monkeypatch):
    diatomic = [sample for sample in samples if sample.graph.n_atoms == 2][:1]
    rows = (6**0.5 * torch.eye(6, dtype=torch.float64)).reshape(6, 2, 3)
    full, full_gradient = gradient(model, diatomic, "efh", HessianSection(sampling="full"))
    generator, config = torch.Generator().manual_seed(1), HessianSection(sampling="rows")
    drawn = {tuple(loss.draw_directions(diatomic, config, generator).flatten().tolist()) for _ in range(100)}
    assert drawn == {tuple(row.flatten().tolist()) for row in rows}
    monkeypatch.setattr(loss, "draw_directions", lambda *_: rows)
    found, found_gradient = gradient(model, diatomic, "efh", HessianSection(sampling="rows", probes=6))
    assert found.hessian == pytest.approx(full.hessian, rel=ROUNDING)
    torch.testing.assert_close(found_gradient, full_gradient, rtol=0, atol=float(ROUNDING * full_gradient.abs().max()))


@pytest.mark.parametrize("sampling", ["rows", "probes"])
def test_kept_directions_are_each_structures_own(samples, sampling):
    config = HessianSection(sampling=sampling, redraw=False)
    generator = torch.Generator().manual_seed(1)
    together = loss.draw_directions(samples, config, generator)
    apart = [loss.draw_directions([sample], config, generator) for sample in samples]
    assert torch.equal(together, torch.cat(apart, dim=1))
    assert not torch.equal(together, loss.draw_directions(samples, HessianSection(sampling=sampling), generator))


@pytest.mark.parametrize("distribution", ["rademacher", "gaussian"])
def test_directions_have_variance_one_and_are_drawn_anew(samples, distribution):
    config = HessianSection(probes=20000, distribution=distribution)
    generator = torch.Generator().manual_seed(1)
    first, second = (loss.draw_directions(samples[:1], config, generator)[:, 0] for _ in range(2))
    covariance = torch.cov(first.T)
    assert not torch.equal(first, second)
    # five standard errors of a variance or covariance from 20000 draws: 5·√(2/20000)
    torch.testing.assert_close(covariance, torch.eye(3, dtype=torch.float64), atol=0.05, rtol=0)


@pytest.mark.parametrize(
    ("mode", "sampling"),
    [
        ("e", HessianSection()),
        ("ef", HessianSection()),
        ("efh", HessianSection(sampling="full")),
        ("efh", HessianSection(probes=2)),
    ],
)
def test_gradient_is_the_difference_of_the_loss(model, samples, mode, sampling):
    gradient(model, samples, mode, sampling)
    index = int(model.mix.grad.abs().argmax())
    analytic = float(model.mix.grad.flatten()[index])
    weights = model.mix.data.view(-1)
    totals = []
    for sign in (1, -1):
        weights[index] += sign * STEP
        totals.append(gradient(model, samples, mode, sampling)[0].total(WEIGHTS, mode))
        weights[index] -= sign * STEP
    assert analytic == pytest.approx((totals[0] - totals[1]) / (2 * STEP), rel=DIFFERENCE)


def test_small_groups_give_the_same_full_gradient(model, samples):
    _, whole = gradient(model, samples, "efh", HessianSection(sampling="full"))
    _, parts = gradient(model, samples, "efh", HessianSection(sampling="full"), max_edges=1)
    torch.testing.assert_close(parts, whole, rtol=0, atol=float(ROUNDING * whole.abs().max()))


def test_structures_without_hessian_can_be_mixed_in(model, samples, dataset):
    without = make_samples(dataset.records[5:7], dataset.elements, 4.0, "ef")
    bare = [replace(s, hessian=None) for s in without]
    terms, _ = gradient(model, [*samples, *bare], "efh", HessianSection())
    assert (terms.structures, terms.with_hessian) == (7, 5)


def test_evaluated_terms_are_those_of_the_loss(model, samples):
    terms, _ = gradient(model, samples, "efh", HessianSection(sampling="full"))
    evaluated = loss.evaluate_terms(model, samples, "efh")
    for name in ("energy", "forces", "hessian"):
        assert getattr(evaluated, name) == pytest.approx(getattr(terms, name), rel=ROUNDING)
