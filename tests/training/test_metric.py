"""Risk: a metric that is not the error of frequencies, or that means one thing in full and another with directions."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_loss import ROUNDING, gradient

from hesspot.analysis.normal_modes import normal_modes
from hesspot.models.house import HouseConfig
from hesspot.training import loss
from hesspot.training.config import HessianSection
from hesspot.training.initialise import initial_model
from hesspot.training.samples import SOFTEST, UNIT, frequency_metric, make_samples

#: of a change of the Hessian, relative; the second order is below SECOND_ORDER of the change.
CHANGE = 1e-5
SECOND_ORDER = 1e-3


@pytest.fixture(scope="module")
def samples(dataset):
    return make_samples(dataset.records[:5], dataset.elements, 4.0, "efh", metric="frequency")


@pytest.fixture
def model(dataset, samples):
    return initial_model(HouseConfig(elements=dataset.elements, cutoff=4.0, n_radial=4, hidden=[6]), samples, seed=3)


def test_the_diagonal_is_the_change_of_frequencies(dataset):
    record = max(dataset.records[:5], key=len)
    atoms = record.atoms_only()
    # translations and rotations are taken out, as for a stationary point
    modes, root = normal_modes(atoms, record.hessian).vectors, np.sqrt(np.repeat(atoms.get_masses(), 3))
    projector = modes.T @ modes * root / root[:, None]
    reference = projector.T @ record.hessian @ projector
    change = CHANGE * np.random.default_rng(0).standard_normal(reference.shape)
    change = projector.T @ (change + change.T) @ projector
    before, after = normal_modes(atoms, reference), normal_modes(atoms, reference + change)
    metric = frequency_metric(reference, atoms.get_masses())
    found = UNIT * np.diag(metric.T @ change @ metric)
    exact = after.frequencies - before.frequencies
    hard = before.frequencies > SOFTEST
    assert hard.sum() >= 3 and abs(exact[hard]).max() > SECOND_ORDER
    for expected in exact[hard]:
        assert min(abs(found - expected)) < SECOND_ORDER * abs(exact[hard]).max()


def test_all_sign_vectors_together_give_the_full_loss(model, samples, monkeypatch):
    diatomic = [sample for sample in samples if sample.graph.n_atoms == 2][:1]
    signs = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=6)), dtype=torch.float64).reshape(64, 2, 3)
    full, full_gradient = gradient(model, diatomic, "efh", HessianSection(sampling="full"))
    plain = gradient(model, [replace(diatomic[0], metric=None)], "efh", HessianSection(sampling="full"))[0]
    monkeypatch.setattr(loss, "draw_directions", lambda *_: [signs])
    probed, probed_gradient = gradient(model, diatomic, "efh", HessianSection(sampling="probes", probes=64))
    assert abs(full.hessian - plain.hessian) > 0.1 * plain.hessian
    assert probed.hessian == pytest.approx(full.hessian, rel=ROUNDING)
    torch.testing.assert_close(probed_gradient, full_gradient, rtol=0, atol=float(ROUNDING * full_gradient.abs().max()))


def test_column_by_column_is_the_same(model, samples):
    whole, expected = gradient(model, samples, "efh", HessianSection(sampling="full"))
    columns, found = gradient(model, samples, "efh", HessianSection(sampling="full"), max_edges=1)
    assert columns.hessian == pytest.approx(whole.hessian, rel=ROUNDING)
    torch.testing.assert_close(found, expected, rtol=0, atol=float(ROUNDING * expected.abs().max()))


def test_validation_has_the_same_terms(model, samples):
    terms = loss.evaluate_terms(model, samples, "efh")
    trained, _ = gradient(model, samples, "efh", HessianSection(sampling="full"))
    assert terms.hessian == pytest.approx(trained.hessian, rel=ROUNDING)
