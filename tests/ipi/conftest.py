"""Small models, written as files the way `hesspot export` writes them."""

from pathlib import Path

import ase
import ase.build
import numpy as np
import pytest
import torch
from ipi_folders import write_water
from torch import Tensor

from hesspot.export import fingerprint_entry, write_model
from hesspot.models.ensemble import EnsembleConfig, HouseEnsemble, mean_of
from hesspot.models.house import HouseConfig, HouseModel


class Springs(torch.nn.Module):
    """½k|v − d_ab|² for every pair of atoms of different elements a, b: harmonic in all coordinates."""

    elements: list[str]
    cutoff: float

    def __init__(self, elements: list[str], offsets: Tensor, k: float):
        super().__init__()
        self.elements = list(elements)
        self.cutoff = 20.0
        self.k = k
        self.register_buffer("offsets", offsets)

    def forward(self, species: Tensor, centers: Tensor, neighbors: Tensor, vectors: Tensor) -> Tensor:
        stretch = vectors - self.offsets[species[centers], species[neighbors]].to(vectors.dtype)
        pair = 0.25 * self.k * (stretch * stretch).sum(1)
        energies = torch.zeros(species.shape[0], dtype=torch.float64, device=vectors.device)
        return energies.index_add(0, centers, pair.to(torch.float64))


class Cliff(torch.nn.Module):
    """√(r − 1 Å) per pair: not a number where two atoms come nearer than 1 Å."""

    elements: list[str]
    cutoff: float

    def __init__(self) -> None:
        super().__init__()
        self.elements = ["H"]
        self.cutoff = 5.0

    def forward(self, species: Tensor, centers: Tensor, neighbors: Tensor, vectors: Tensor) -> Tensor:
        pair = torch.sqrt(torch.sqrt((vectors * vectors).sum(1)) - 1.0)
        energies = torch.zeros(species.shape[0], dtype=torch.float64, device=vectors.device)
        return energies.index_add(0, centers, pair.to(torch.float64))


@pytest.fixture(scope="session")
def molecule() -> ase.Atoms:
    atoms = ase.build.molecule("H2CO")
    atoms.rattle(0.02, seed=5)
    return atoms


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory, molecule: ase.Atoms) -> Path:
    torch.manual_seed(3)
    model = HouseModel(HouseConfig(elements=["H", "C", "N", "O"], cutoff=4.0, n_radial=4, n_channels=3, hidden=[8]))
    model.requires_grad_(False)
    path = tmp_path_factory.mktemp("model") / "house.pt"
    write_model(path, model, [fingerprint_entry(model, "formaldehyde", molecule)])
    return path


@pytest.fixture(scope="session")
def ensemble(tmp_path_factory: pytest.TempPathFactory, molecule: ase.Atoms) -> Path:
    """A committee of three."""
    torch.manual_seed(4)
    config = EnsembleConfig(elements=["H", "C", "O"], cutoff=4.0, n_radial=4, n_channels=3, hidden=[8], members=3)
    model = HouseEnsemble(config).requires_grad_(False)
    path = tmp_path_factory.mktemp("model") / "ensemble.pt"
    write_model(path, model, [fingerprint_entry(model, "formaldehyde", molecule)])
    return path


@pytest.fixture(scope="session")
def mean(tmp_path_factory: pytest.TempPathFactory, molecule: ase.Atoms) -> Path:
    """A committee of three models with descriptors of their own."""
    torch.manual_seed(5)
    shape = HouseConfig(elements=["H", "C", "O"], cutoff=4.0, n_radial=4, n_channels=3, hidden=[8])
    model = mean_of([HouseModel(shape) for _ in range(3)]).requires_grad_(False)
    path = tmp_path_factory.mktemp("model") / "mean.pt"
    write_model(path, model, [fingerprint_entry(model, "formaldehyde", molecule)])
    return path


@pytest.fixture(scope="session")
def springs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ase.Atoms, float]:
    """Model file, structure at rest, k in eV/Å²."""
    k = 6.0
    atoms = ase.Atoms("HHeLiBe", positions=[[0, 0, 0], [1, 0, 0], [0, 1.2, 0], [0, 0, 1.4]])
    places = torch.from_numpy(atoms.positions)
    model = Springs(atoms.get_chemical_symbols(), places[None, :] - places[:, None], k)
    path = tmp_path_factory.mktemp("model") / "springs.pt"
    write_model(path, model, [fingerprint_entry(model, "rest", atoms)], allow_jump=True)
    return path, atoms, k


@pytest.fixture(scope="session")
def cliff(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = Cliff()
    path = tmp_path_factory.mktemp("model") / "cliff.pt"
    pair = ase.Atoms("H2", [[0, 0, 0], [0, 0, 2.0]])
    write_model(path, model, [fingerprint_entry(model, "pair", pair)], allow_jump=True)
    return path


@pytest.fixture(scope="session")
def water(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ase.Atoms]:
    """Model file of a molecule of Morse bonds, and its minimum."""
    path = tmp_path_factory.mktemp("model") / "water.pt"
    return path, write_water(path)


@pytest.fixture(scope="session")
def water_model(water: tuple[Path, ase.Atoms]) -> Path:
    """The file of `water`; start.xyz beside it is off the minimum."""
    path, atoms = water[0], water[1].copy()
    atoms.rattle(0.03, seed=4)
    atoms.write(path.with_name("start.xyz"), format="extxyz")
    return path


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)
