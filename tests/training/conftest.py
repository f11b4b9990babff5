"""A small dataset with labels of an analytic potential, which no part of the training code made."""

from pathlib import Path

import ase
import numpy as np
import pytest

from hesspot.data import Dataset, Record

K, R0 = 30.0, 1.0  # eV/Å², Å


def bonds(positions: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Energy, forces and Hessian of harmonic bonds between all atoms, from the textbook formula."""
    n = len(positions)
    energy, forces, hessian = 0.0, np.zeros((n, 3)), np.zeros((n, 3, n, 3))
    for i in range(n):
        for j in range(i + 1, n):
            arm = positions[j] - positions[i]
            r = np.linalg.norm(arm)
            unit = arm / r
            energy += 0.5 * K * (r - R0) ** 2
            forces[i] += K * (r - R0) * unit
            forces[j] -= K * (r - R0) * unit
            block = K * np.outer(unit, unit) + K * (r - R0) / r * (np.eye(3) - np.outer(unit, unit))
            hessian[i, :, i] += block
            hessian[j, :, j] += block
            hessian[i, :, j] -= block
            hessian[j, :, i] -= block
    return energy, forces, hessian.reshape(3 * n, 3 * n)


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
