"""The process that evaluates: the same numbers as without it, and what becomes of it."""

import os
import signal
import threading
from dataclasses import replace

import ase
import numpy as np
import pytest

from hesspot.errors import UserError
from ipi_driver.evaluation.load import load_evaluator
from ipi_driver.evaluation.results import EvaluationError
from ipi_driver.serving.worker import Worker
from ipi_driver.settings import EvaluatorSettings

CELLS = np.tile(np.eye(3) * 20.0, (3, 1, 1))


def settings(model, atoms):
    return EvaluatorSettings(model, tuple(atoms.symbols), (False, False, False), "float64", "cpu", 0.5)


def test_a_worker_that_is_killed_in_flight_is_replaced(house, molecule, rng):
    """Stopped, asked, then killed: the structures in flight are answered by the next one, to the last bit."""
    positions = molecule.positions + 0.1 * rng.standard_normal((3, 4, 3))
    wanted = load_evaluator(settings(house, molecule), lambda text: None)(positions, CELLS)
    told = []
    with Worker(settings(house, molecule), 3, told.append) as worker:
        for killed in range(2):
            process = worker._process
            if killed:
                os.kill(process.pid, signal.SIGSTOP)
                threading.Timer(0.2, process.kill).start()
            got = worker(positions, CELLS)
            for name in ("energy", "forces", "virial"):
                np.testing.assert_array_equal(getattr(got, name), getattr(wanted, name))
        last = worker._process
    assert worker.started == 2
    assert len(told) == 1
    assert "SIGKILL" in told[0]
    assert last.returncode == 0


def test_threads_of_a_worker_change_no_bit(house, molecule, rng):
    positions = molecule.positions + 0.1 * rng.standard_normal((24, 4, 3))
    cells = np.tile(np.eye(3) * 20.0, (24, 1, 1))
    wanted = load_evaluator(settings(house, molecule), print)(positions, cells)
    with Worker(replace(settings(house, molecule), threads=3), 0, print) as worker:
        got = worker(positions, cells)
    for name in ("energy", "forces", "virial"):
        np.testing.assert_array_equal(getattr(got, name), getattr(wanted, name))


def test_errors_of_a_worker_are_those_of_the_evaluator(cliff, tmp_path):
    pair = ase.Atoms("H2", [[0, 0, 0], [0, 0, 2.0]])
    with Worker(settings(cliff, pair), 3, print) as worker:
        near = np.array([pair.positions, pair.positions * 0.45])
        with pytest.raises(EvaluationError, match="not finite") as caught:
            worker(near, CELLS[:2])
        assert caught.value.index == 1
        assert np.isfinite(worker(near[:1], CELLS[:1]).energy).all()
        assert worker.started == 1
    with pytest.raises(UserError, match="does not exist"):
        Worker(settings(tmp_path / "missing.pt", pair), 3, print)


def test_workers_that_die_again_and_again_end_the_driver(house, molecule, monkeypatch):
    monkeypatch.setattr("ipi_driver.serving.worker.sys.executable", "/bin/false")
    told = []
    with pytest.raises(UserError, match=r"ended with status 1, 3 times"):
        Worker(settings(house, molecule), 2, told.append)
    assert len(told) == 2
