"""Small model files that several areas test with, and signals as at a terminal."""

import signal
from pathlib import Path

import pytest
import torch
from ase import Atoms
from ase.build import molecule

from hesspot.export import fingerprint_entry, write_model
from hesspot.models.analytic import LennardJones
from hesspot.models.house import HouseConfig, HouseModel


def pytest_configure() -> None:
    """A shell has its background jobs ignore SIGINT, and so would the programs that the tests interrupt."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def house_model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A house model of H, C, N, O with random weights and forces of some eV/Å; cutoff 4 Å."""
    torch.manual_seed(11)
    model = HouseModel(HouseConfig(elements=["H", "C", "N", "O"], cutoff=4.0, n_radial=5, n_channels=3, hidden=[16]))
    model.shifts = [-13.6, -1029.5, -1484.9, -2041.3]
    model.scale.fill_(20.0)
    model.requires_grad_(False).eval()
    path = tmp_path_factory.mktemp("house") / "house.pt"
    write_model(path, model, [fingerprint_entry(model, "methanol", molecule("CH3OH"))])
    return path


@pytest.fixture(scope="session")
def lj_model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lennard-Jones for Ar and Ne, cutoff 6 Å: ε 0.010, 0.007 (mixed), 0.003 eV; σ 3.4, 3.1, 2.8 Å."""
    epsilon = torch.tensor([[0.010, 0.007], [0.007, 0.003]], dtype=torch.float64)
    sigma = torch.tensor([[3.4, 3.1], [3.1, 2.8]], dtype=torch.float64)
    model = LennardJones(["Ar", "Ne"], 6.0, epsilon, sigma)
    path = tmp_path_factory.mktemp("lj") / "lj.pt"
    dimer = Atoms("ArNe", positions=[[0, 0, 0], [0.5, 0.3, 3.3]])
    write_model(path, model, [fingerprint_entry(model, "ArNe", dimer)], allow_jump=True)
    return path
