"""The small dataset of the training tests."""

import numpy as np
import pytest
from harmonic_bonds import bonds

from hesspot.data import Dataset, Record


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    random = np.random.default_rng(1)
    records = []
    for number in range(4):
        positions = np.array([[0, 0, 0], [1.0, 0, 0], [0.2, 0.98, 0]]) + 0.1 * random.standard_normal((3, 3))
        energy, forces, hessian = bonds(positions)
        part = "valid" if number == 3 else "train"
        records.append(
            Record([8, 1, 1], positions, f"{part}{number}", energy=energy, forces=forces, hessian=hessian, part=part)
        )
    return Dataset(records, "harmonic bonds")
