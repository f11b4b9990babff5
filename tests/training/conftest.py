"""A small dataset with labels of an analytic potential, which no part of the training code made."""

from pathlib import Path

import ase
import numpy as np
import pytest
from harmonic_bonds import bonds

from hesspot.data import Dataset, Record


def records(count: int, part: str, seed: int) -> list[Record]:
    random = np.random.default_rng(seed)
    made = []
    for number in range(count):
        symbols = ["H2", "OH2", "OH"][number % 3]
        shape = ase.Atoms(symbols).numbers
        start = np.array([[0, 0, 0], [1.0, 0, 0], [0.2, 0.98, 0]])[: len(shape)]
        positions = start + 0.1 * random.standard_normal(start.shape)
        energy, forces, hessian = bonds(positions)
        made.append(
            Record(shape, positions, f"{part}{number}", energy=energy, forces=forces, hessian=hessian, part=part)
        )
    return made


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    return Dataset(records(12, "train", 1) + records(3, "valid", 2), "harmonic bonds")


@pytest.fixture(scope="session")
def dataset_file(dataset, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "bonds.h5"
    dataset.write(path)
    return path
