"""Risk: a committee that is not its members, or that another program reads in another order."""

import pytest
import torch
from ase.build import molecule

from hesspot.contract import build_batch
from hesspot.derivatives import evaluate, hvp
from hesspot.errors import UserError
from hesspot.export import fingerprint_entry, read_model, write_model
from hesspot.export.file import eager_model
from hesspot.models.ensemble import EnsembleConfig, HouseEnsemble, mean_of
from hesspot.models.house import HouseConfig, HouseModel

ROUNDING = 1e-12  # eV, eV/Å, eV/Å²: the same float64 operations, summed in another order
SIGNAL = 1e-2  # eV, eV/Å, eV/Å²: by so much members differ at least
MEMBERS = 3
SHAPE = {"elements": ["H", "C", "O"], "cutoff": 4.0, "n_radial": 4, "n_channels": 3, "hidden": [8, 6]}


@pytest.fixture(scope="module")
def committee() -> HouseEnsemble:
    torch.manual_seed(4)
    model = HouseEnsemble(EnsembleConfig(**SHAPE, members=MEMBERS))
    model.shifts = [-13.0, -1030.0, -2040.0]
    model.scale.fill_(10.0)
    model.mean.normal_()
    return model.requires_grad_(False).eval()


@pytest.fixture(scope="module")
def alone(committee) -> list[HouseModel]:
    """Each member as a model of its own: network m·n_elements + e becomes network e."""
    models = []
    state = committee.state_dict()
    for member in range(MEMBERS):
        own = HouseModel(HouseConfig(**SHAPE)).requires_grad_(False)
        networks = {
            f"networks.{e}.{rest}": state[f"networks.{3 * member + e}.{rest}"]
            for e in range(3)
            for rest in own.networks[0].state_dict()
        }
        own.load_state_dict({**{k: v for k, v in state.items() if not k.startswith("networks.")}, **networks})
        own.shifts = list(committee.shifts)
        models.append(own)
    return models


@pytest.fixture(scope="module")
def batch(committee):
    return build_batch([molecule("CH3OH"), molecule("H2O")], committee.elements, committee.cutoff)


def test_a_committee_is_the_mean_of_its_members(committee, alone, batch):
    arguments = batch.species, batch.centers, batch.neighbors, batch.vectors
    members = committee.members(*arguments)
    expected = torch.stack([model(*arguments) for model in alone])
    assert (expected[0] - expected[1]).abs().max() > SIGNAL
    torch.testing.assert_close(members, expected, atol=ROUNDING, rtol=0)
    direction = torch.randn(batch.n_atoms, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    forces = torch.stack([evaluate(model, batch).forces for model in alone])
    products = torch.stack([hvp(model, batch, direction) for model in alone])
    assert forces.abs().max() > SIGNAL and products.abs().max() > SIGNAL
    torch.testing.assert_close(evaluate(committee, batch).forces, forces.mean(0), atol=ROUNDING, rtol=0)
    torch.testing.assert_close(hvp(committee, batch, direction), products.mean(0), atol=ROUNDING, rtol=0)


def test_a_file_gives_the_committee_and_its_members_back(committee, batch, tmp_path):
    path = tmp_path / "committee.pt"
    write_model(path, committee, [fingerprint_entry(committee, "methanol", molecule("CH3OH"))])
    loaded = read_model(path)
    assert loaded.metadata.architecture.name == "house-ensemble"
    assert loaded.metadata.architecture.config == {**SHAPE, "members": MEMBERS, "core": None}
    arguments = batch.species, batch.centers, batch.neighbors, batch.vectors
    assert torch.equal(eager_model(loaded).members(*arguments), committee.members(*arguments))
    torch.testing.assert_close(
        loaded.module.members(*arguments), committee.members(*arguments), atol=ROUNDING, rtol=1e-14
    )
    torch.testing.assert_close(loaded(*arguments), committee(*arguments), atol=ROUNDING, rtol=1e-14)


@pytest.fixture(scope="module")
def apart() -> list[HouseModel]:
    """Models that share nothing but their shape."""
    torch.manual_seed(6)
    models = [HouseModel(HouseConfig(**SHAPE)).requires_grad_(False).eval() for _ in range(MEMBERS)]
    for number, model in enumerate(models):
        model.shifts = [-13.0 - number, -1030.0, -2040.0 + 0.1 * number]
        model.scale.fill_(5.0 + number)
        model.mean.normal_()
        model.inverse_deviation.uniform_(0.5, 2.0)
    return models


def test_a_mean_of_models_from_its_file(apart, batch, tmp_path):
    """What kernel, TorchScript and the eager model say, against each model by itself."""
    mean = mean_of(apart)
    path = tmp_path / "mean.pt"
    write_model(path, mean, [fingerprint_entry(mean, "methanol", molecule("CH3OH"))])
    loaded = read_model(path)
    assert loaded.metadata.architecture.name == "house-mean" and loaded.kernel is not None
    arguments = batch.species, batch.centers, batch.neighbors, batch.vectors
    direction = torch.randn(batch.n_atoms, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    energies = torch.stack([model(*arguments) for model in apart])
    forces = torch.stack([evaluate(model, batch).forces for model in apart])
    products = torch.stack([hvp(model, batch, direction) for model in apart])
    for values in (energies, forces, products):
        assert (values[0] - values[1]).abs().max() > SIGNAL
    for which in (loaded.kernel, eager_model(loaded), loaded.module):
        torch.testing.assert_close(which.members(*arguments), energies, atol=ROUNDING, rtol=1e-14)
        torch.testing.assert_close(which(*arguments), energies.mean(0), atol=ROUNDING, rtol=1e-14)
    for model in (loaded, eager_model(loaded)):
        torch.testing.assert_close(evaluate(model, batch).forces, forces.mean(0), atol=ROUNDING, rtol=1e-13)
        torch.testing.assert_close(hvp(model, batch, direction), products.mean(0), atol=ROUNDING, rtol=1e-13)


def test_a_mean_of_unlike_models_is_refused(apart, committee):
    other = HouseModel(HouseConfig(**{**SHAPE, "n_channels": 4}))
    with pytest.raises(UserError, match="model 2 has another shape than the first one"):
        mean_of([apart[0], other])
    with pytest.raises(UserError, match="model 3 is a committee itself"):
        mean_of([*apart[:2], committee])
