"""Risk: distances from the training data that are those of other data, other descriptors or another element."""

from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import molecule
from bent_files import rewritten
from scipy.spatial import cKDTree

from hesspot.contract import build_batch
from hesspot.data import Dataset, Record
from hesspot.errors import UserError
from hesspot.export import fingerprint_entry, read_model, write_model
from hesspot.export.file import rewrite_model, surroundings_of
from hesspot.export.surroundings import AXES, FLOOR, KEPT
from hesspot.graph import build_graph
from hesspot.models.house import HouseConfig, HouseModel

#: Of what float32 holds.
STORED = 1e-5


@pytest.fixture(scope="module")
def model() -> HouseModel:
    torch.manual_seed(2)
    model = HouseModel(HouseConfig(elements=["H", "C", "O"], cutoff=4.0, n_radial=4, n_channels=3, hidden=[8]))
    return model.requires_grad_(False).eval()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty rattled methanols and as many waters to train on, one methane among them, and others."""
    random = np.random.default_rng(1)
    names = ["CH3OH", "H2O"] * 30 + ["CH4"] + ["C2H6"] * 3
    records = []
    for number, name in enumerate(names):
        atoms = molecule(name)
        atoms.positions += random.normal(0, 0.05, atoms.positions.shape)
        records.append(
            Record.from_atoms(
                atoms, name=f"{name}-{number}", energy=0.0, part="test" if name == "C2H6" else "train", system=name
            )
        )
    path = tmp_path_factory.mktemp("data") / "data.h5"
    Dataset(records, "a test").write(path)
    return path


@pytest.fixture(scope="module")
def model_file(model: HouseModel, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.pt"
    entry = fingerprint_entry(model, "water", molecule("H2O"))
    write_model(path, model, [entry], surroundings=surroundings_of(model, [str(data)]))
    return path


def test_distances_are_those_of_the_formula(model: HouseModel, data: Path, model_file: Path) -> None:
    """Written out with torch's descriptors, NumPy's eigenvectors and SciPy's search."""
    structures = [record.atoms_only() for record in Dataset.open(data) if record.part == "train"]
    other = molecule("CH3CH2OH")
    batch = build_batch([*structures, other], model.elements, model.cutoff)
    own = model.descriptors(batch.species, batch.centers, batch.neighbors, batch.vectors)
    own = ((own - model.mean[batch.species]) * model.inverse_deviation[batch.species]).numpy()
    species = batch.species.numpy()
    loaded = read_model(model_file)
    assert loaded.kernel is not None and loaded.surroundings is not None
    found = loaded.surroundings.distances(loaded.kernel, build_graph(other, model.elements, model.cutoff))
    train = np.arange(len(own)) < len(own) - len(other)
    for element in range(3):
        mine = own[train & (species == element)]
        typical = np.sqrt((mine.std(0) ** 2).mean())
        scale = 1.0 / np.maximum(mine.std(0), FLOOR * typical)
        y = (mine - mine.mean(0)) * scale
        axes = np.linalg.eigh(y.T @ y)[1][:, ::-1][:, :AXES]

        def points(z: np.ndarray) -> np.ndarray:
            y = (z - mine.mean(0)) * scale  # noqa: B023
            return np.column_stack([y @ axes, np.linalg.norm(y - y @ axes @ axes.T, axis=1)])  # noqa: B023

        kept = points(mine)
        assert len(kept) <= KEPT, "all are kept"
        nearest, _ = cKDTree(kept).query(points(own[~train & (species == element)]))
        owners = np.repeat(np.arange(len(structures)), [len(s) for s in structures])[species[train] == element]
        apart = np.array([cKDTree(kept[owners != o]).query(kept[k])[0] for k, o in enumerate(owners)])
        expected = nearest / np.percentile(apart, 99)
        ethanol = np.array([model.elements.index(symbol) for symbol in other.get_chemical_symbols()]) == element
        np.testing.assert_allclose(found[ethanol], expected, rtol=1e-3 if len(mine) < 50 else 1e-4)
    assert found.max() > 1.5, "ethanol is far from methanol, water and methane"


def test_training_atoms_are_near(model: HouseModel, data: Path, model_file: Path) -> None:
    loaded = read_model(model_file)
    assert loaded.kernel is not None and loaded.surroundings is not None
    for record in list(Dataset.open(data))[:4]:
        graph = build_graph(record.atoms_only(), model.elements, model.cutoff)
        assert loaded.surroundings.distances(loaded.kernel, graph).max() < 0.05, "itself is kept, in float32"


def test_files_say_what_they_have(model: HouseModel, data: Path, model_file: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain.pt"
    write_model(plain, model, [fingerprint_entry(model, "water", molecule("H2O"))])
    assert read_model(plain).surroundings is None
    rewrite_model(plain, tmp_path / "with.pt", training_data=[str(data)])
    rewrite_model(tmp_path / "with.pt", tmp_path / "again.pt")
    contents = [
        read_model(path).surroundings.to_bytes() for path in (model_file, tmp_path / "with.pt", tmp_path / "again.pt")
    ]
    assert contents[0] == contents[1] == contents[2]
    bent = rewritten(model_file, tmp_path / "bent.pt", {"hesspot.surroundings": lambda data: data[:-1] + b"x"})
    with pytest.raises(UserError, match=r"surroundings in .* is damaged or changed"):
        _ = read_model(bent).surroundings
