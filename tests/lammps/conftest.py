from pathlib import Path

import pytest
import torch
from ase.build import molecule

from hesspot.export import fingerprint_entry, write_model
from hesspot.lammps import build_plugin
from hesspot.models.ensemble import EnsembleConfig, HouseEnsemble, HouseMean, houses_of, mean_of
from hesspot.models.house import HouseConfig, HouseModel


@pytest.fixture(scope="session", autouse=True)
def plugin() -> Path:
    """The plugin, compiled at most once: the cache serves all later sessions."""
    return build_plugin()


SHAPE = {"elements": ["H", "C", "N", "O"], "cutoff": 4.0, "n_radial": 4, "n_channels": 2, "hidden": [12]}


@pytest.fixture(scope="session")
def committee_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A committee of three with random weights and forces of some eV/Å; elements and cutoff of `house_model_file`."""
    torch.manual_seed(12)
    return _write(tmp_path_factory, HouseEnsemble(EnsembleConfig(**SHAPE, members=3)))


@pytest.fixture(scope="session")
def mean_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with descriptors of their own."""
    torch.manual_seed(13)
    return _write(tmp_path_factory, mean_of([HouseModel(HouseConfig(**SHAPE)) for _ in range(3)]))


def _write(tmp_path_factory: pytest.TempPathFactory, model: HouseEnsemble | HouseMean) -> Path:
    for house in houses_of(model):
        house.shifts = [-13.6, -1029.5, -1484.9, -2041.3]
        house.scale.fill_(20.0)
    model.requires_grad_(False).eval()
    path = tmp_path_factory.mktemp("committee") / "committee.pt"
    write_model(path, model, [fingerprint_entry(model, "methanol", molecule("CH3OH"))])
    return path
