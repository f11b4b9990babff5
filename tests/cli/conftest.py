"""The command line as a user starts it: a process, into files or at a terminal."""

import os
import pty
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from command_line import HESSPOT, environment
from harmonic_bonds import bonds

from hesspot.data import Dataset, Record


@pytest.fixture
def hesspot() -> Callable[..., subprocess.CompletedProcess[str]]:
    def call(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        words = [*HESSPOT, *map(str, arguments)]
        return subprocess.run(words, capture_output=True, text=True, env=environment(), cwd=cwd, check=False)

    return call


@pytest.fixture
def at_terminal() -> Callable[..., str]:
    """Runs a command with a terminal of so many columns as stdin, stdout and stderr; what the terminal got."""

    def call(*arguments: object, columns: int = 80) -> str:
        master, slave = pty.openpty()
        words = [*HESSPOT, *map(str, arguments)]
        process = subprocess.Popen(
            words, stdin=slave, stdout=slave, stderr=slave, env=environment(TERM="xterm", COLUMNS=str(columns))
        )
        os.close(slave)
        received = b""
        try:
            while piece := os.read(master, 65536):
                received += piece
        except OSError:  # Linux says EIO when the last writer is gone
            pass
        os.close(master)
        process.wait()
        return received.decode()

    return call


@pytest.fixture(scope="session")
def labels_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labelled waters, hydroxyls and hydrogens of an analytic potential: 8 to train on, 2 to validate, 2 to test."""
    random = np.random.default_rng(5)
    records = []
    for number in range(12):
        symbols = ["H2", "OH2", "OH"][number % 3]
        shape = Atoms(symbols).numbers
        positions = np.array([[0, 0, 0], [1.0, 0, 0], [0.2, 0.98, 0]])[: len(shape)]
        positions = positions + 0.1 * random.standard_normal(positions.shape)
        energy, forces, hessian = bonds(positions)
        part = "train" if number < 8 else "valid" if number < 10 else "test"
        records.append(
            Record(
                shape,
                positions,
                f"{symbols}_{number}",
                energy=energy,
                forces=forces,
                hessian=hessian,
                part=part,
                system=symbols,
            )
        )
    path = tmp_path_factory.mktemp("labels") / "labels.h5"
    Dataset(records, "harmonic bonds").write(path)
    return path


@pytest.fixture
def small_config(labels_file: Path, tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(
        f"data: {labels_file}\nvalidate_every: 1\n"
        "model: {cutoff: 4.0, n_radial: 4, n_channels: 3, hidden: [8]}\noptimizer: {epochs: 3}\n"
    )
    return path
