"""A dataset in all parts of the comparison, with labels of an analytic potential."""

from pathlib import Path

import ase
import numpy as np
import pytest
from harmonic_bonds import bonds

from hesspot.data import Dataset, Record


def record(name: str, part: str, kind: str, system: str, shift: float, hessian: bool = True) -> Record:
    random = np.random.default_rng(sum(name.encode()))
    numbers = ase.Atoms({"a": "OH2", "b": "OH", "c": "H2", "d": "H3"}[system[0]]).numbers
    start = np.array([[0, 0, 0], [1.0, 0, 0], [0.5, 0.75**0.5, 0]])[: len(numbers)]
    positions = start + shift * random.standard_normal(start.shape)
    energy, forces, matrix = bonds(positions)
    return Record(
        numbers,
        positions,
        name,
        energy=energy,
        forces=forces,
        hessian=matrix if hessian else None,
        part=part,
        kind=kind,
        system=system,
    )


def make_dataset() -> Dataset:
    train = [
        record(f"{system}-{n}", "train", "minimum", system, 0.08) for system in ("a1", "b1", "c1", "a2") for n in (1, 2)
    ]
    valid = [record("v", "valid", "minimum", "a3", 0.05)]
    test = [
        record("t-min", "test", "minimum", "b4", 0.0),
        record("t-saddle", "test", "saddle", "a4", 0.0),
        record("t-irc-1", "test", "irc", "a4", 0.05),
        record("t-irc-2", "test", "irc", "a1", 0.05),
        record("t-irc-3", "test", "irc", "a3", 0.05),
        record("t-nms-1", "test", "nms", "a4", 0.1),
        record("t-nms-2", "test", "nms", "b4", 0.1, hessian=False),
    ]
    table = {"a4": {"saddle": "t-saddle", "ends": [["t-min"], ["t-min", "c1-1"]]}}
    return Dataset(train + valid + test, "harmonic bonds", {"reactions": table})


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    return make_dataset()


@pytest.fixture(scope="session")
def dataset_file(dataset, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "bonds.h5"
    dataset.write(path)
    return path


@pytest.fixture
def study_keys(dataset_file) -> dict:
    """Two arms, two seeds, few epochs of a tiny model."""
    return {
        "base": {
            "data": str(dataset_file),
            "validate_every": 2,
            "model": {"cutoff": 4.0, "n_radial": 4, "n_channels": 2, "hidden": [6]},
            "optimizer": {"epochs": 4, "batch_size": 4, "warmup_epochs": 1},
        },
        "arms": {"E-F": {"mode": "ef"}, "E-F-H (probes)": {"mode": "efh", "loss": {"hessian": 0.2}}},
        "seeds": [0, 1],
        "cost_epochs": 0,
    }
