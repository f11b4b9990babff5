"""Risk: steps in C++ that answer other bytes than Python does, take what they must leave, or lose their place."""

import contextlib
import os
import signal
import socket
import threading

import numpy as np
import pytest
from ipi_server import batched_posdata, init, posdata, word
from test_shm import named, segments

from hesspot.errors import UserError
from hesspot.units import BOHR
from ipi_driver.evaluation.load import load_evaluator
from ipi_driver.serving.driver import Driver, InStream
from ipi_driver.serving.responder import Responder
from ipi_driver.serving.worker import Worker
from ipi_driver.settings import EvaluatorSettings
from ipi_driver.wire.protocol import Connection
from ipi_driver.wire.shared_memory import InSharedMemory

CELL = np.array([[9.0, 0.3, 0.1], [-0.2, 9.5, 0.4], [0.0, 0.1, 10.0]])
STEPS = 12
JUMP = 2.0  #: Å, beyond every skin
TIMEOUT = 60.0  #: s, for a driver that hangs


def settings(model, atoms, pbc=(False, False, False)):
    return EvaluatorSettings(model, tuple(atoms.symbols), pbc, "float64", "cpu", 0.5)


class Counted:
    """Something that evaluates, and how many steps did not come to Python."""

    def __init__(self, evaluate):
        self.evaluate, self.in_lane = evaluate, 0
        self.shortcut = evaluate.shortcut

    def __call__(self, positions, cells):
        return self.evaluate(positions, cells)

    def add_counts(self, calls, n_structures, seconds):
        self.in_lane += calls
        self.evaluate.add_counts(calls, n_structures, seconds)


def message(cells, positions):
    cells, positions = cells / BOHR, positions / BOHR
    return posdata(cells[0], positions[0]) if len(positions) == 1 else batched_posdata(cells, positions)


def batches(atoms, batch, rng):
    """A run: beads that wander, far once; the batch is padded once."""
    positions = atoms.positions + 0.05 * rng.standard_normal((batch, len(atoms), 3))
    for step in range(STEPS):
        positions = positions + 0.01 * rng.standard_normal(positions.shape)
        if step == 4:
            positions[0, 0] += JUMP
        padded = positions.copy()
        if step == 7:
            padded[1:] = padded[0]
        yield np.tile(CELL, (batch, 1, 1)), padded


def run_of(atoms, batch, rng):
    """STATUS stands in one step before POSDATA, in another one between POSDATA and GETFORCE."""
    stream = init(0, f"batch_size:{batch}")
    for step, (cells, positions) in enumerate(batches(atoms, batch, rng)):
        stream += word("STATUS") * (step == 2)
        stream += message(cells, positions)
        stream += word("STATUS") * (step == 9) + word("GETFORCE")
    return stream


def cut(stream, rng):
    places = np.sort(rng.integers(1, len(stream), 200))
    return [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]


def replies(pieces, atoms, evaluate, quick, failed, payload=None):
    """All that the driver sends, and what it raised."""
    server, client = socket.socketpair()
    server.settimeout(TIMEOUT)
    sent = bytearray()

    def read():
        with contextlib.suppress(ConnectionResetError):
            while piece := server.recv(1 << 16):
                sent.extend(piece)
        server.close()

    def write():
        with contextlib.suppress(BrokenPipeError):
            for piece in pieces:
                server.sendall(piece)
            server.shutdown(socket.SHUT_WR)

    threads = [threading.Thread(target=read), threading.Thread(target=write)]
    for thread in threads:
        thread.start()
    connection = Connection(client)
    answers, error = Responder(evaluate, atoms, [True] * 3, failed), None
    try:
        Driver(connection, answers, len(atoms), payload or InStream(), quick).run()
    except UserError as caught:
        error = str(caught)
    finally:
        connection.close()
        for thread in threads:
            thread.join(TIMEOUT)
    return bytes(sent), error, answers.calls


@contextlib.contextmanager
def evaluators(model, atoms, place, pbc=(False, False, False)):
    if place == "here":
        yield Counted(load_evaluator(settings(model, atoms, pbc), print))
    else:
        with Worker(settings(model, atoms, pbc), 3, print) as worker:
            yield Counted(worker)


@pytest.mark.parametrize("place", ["here", "worker"])
@pytest.mark.parametrize("pbc", [(False, False, False), (True, True, True)])
@pytest.mark.parametrize("batch", [1, 3])
def test_both_ways_give_the_same_bytes(place, pbc, batch, house, molecule, rng, tmp_path):
    stream = run_of(molecule, batch, rng) + word("EXIT")
    with evaluators(house, molecule, place, pbc) as evaluate:
        slow = replies([stream], molecule, evaluate, None, tmp_path / "failed.xyz")
        assert evaluate.in_lane == 0
        fast = replies(cut(stream, rng), molecule, evaluate, evaluate, tmp_path / "failed.xyz")
        # in Python: the first step, the jump, STATUS within a step, and padding
        assert evaluate.in_lane >= STEPS - (4 if batch > 1 else 3) - 2
        if place == "here":
            assert evaluate.evaluate.calls == 2 * STEPS
    assert fast == slow
    assert slow[1:] == (None, STEPS)
    assert slow[0].count(b"FORCEREADY") == STEPS


@pytest.mark.parametrize("place", ["here", "worker"])
@pytest.mark.parametrize("batch", [1, 3])
def test_shared_memory_holds_what_the_stream_would_carry(place, batch, house, molecule, rng, tmp_path):
    n_atoms = len(molecule)
    cells, positions = next(batches(molecule, batch, rng))
    stream = init(0, f"batch_size:{batch}") + (message(cells, positions) + word("GETFORCE")) * 2 + word("EXIT")
    with evaluators(house, molecule, place) as evaluate, segments(batch, n_atoms) as (names, arrays):
        wanted = replies([stream], molecule, evaluate, None, tmp_path / "failed.xyz")[0]
        arrays[0][:], arrays[1][:] = positions / BOHR, cells.transpose(0, 2, 1) / BOHR
        first = word("POSDATA") + np.int32(n_atoms).tobytes()
        pieces = [init(0, f"batch_size:{batch}") + first + named(names) + word("GETFORCE")]
        pieces += [first, word("GETFORCE")[:5], word("GETFORCE")[5:], word("EXIT")]
        payload = InSharedMemory()
        sent, error, calls = replies(pieces, molecule, evaluate, evaluate, tmp_path / "failed.xyz", payload)
        payload.close()
        assert (error, calls, evaluate.in_lane) == (None, 2, 1)
        assert sent == (word("FORCEREADY") + bytes(4 * batch)) * 2
        energies, forces, virials = (array.tobytes() for array in arrays[3:])
    last = word("FORCEREADY") + energies + np.int32(n_atoms).tobytes() + forces + virials + bytes(4 * batch)
    assert wanted[-len(last) :] == last


@pytest.mark.parametrize("place", ["here", "worker"])
@pytest.mark.parametrize("batch", [1, 3])
def test_what_cannot_be_answered_is_refused_in_the_same_words(place, batch, house, molecule, rng, tmp_path):
    good = run_of(molecule, batch, rng)
    cells, positions = next(batches(molecule, batch, rng))
    nan, other, same = positions.copy(), positions[:, :-1], positions.copy()
    nan[-1, 1, 2] = np.nan
    same[-1, 1] = same[-1, 0]
    ends = [message(cells, wrong) + word("GETFORCE") for wrong in (nan, other, same)]
    ends += [word("GETFORCE"), word("POSDATA")[:7], b"NONSENSE    ", message(cells, positions)[:-3]]
    with evaluators(house, molecule, place) as evaluate:
        for end in ends:
            slow = replies([good + end], molecule, evaluate, None, tmp_path / "failed.xyz")
            fast = replies(cut(good + end, rng), molecule, evaluate, evaluate, tmp_path / "failed.xyz")
            assert fast == slow
            assert slow[1] is not None and slow[0].count(b"FORCEREADY") == STEPS


@pytest.mark.parametrize("place", ["here", "worker"])
def test_ase_that_closes_after_the_last_answer_is_a_normal_end(place, house, molecule, rng, tmp_path):
    """Not if it still waits for an answer, and not for i-PI."""
    of_ipi = run_of(molecule, 1, rng)
    of_ase = of_ipi.replace(init(0, "batch_size:1"), init(0, "\0"))
    with evaluators(house, molecule, place) as evaluate:
        for quick in (None, evaluate):
            assert replies([of_ase], molecule, evaluate, quick, tmp_path / "failed.xyz")[1:] == (None, STEPS)
            for stream in (of_ase + message(*next(batches(molecule, 1, rng))), of_ipi):
                _, error, _ = replies([stream], molecule, evaluate, quick, tmp_path / "failed.xyz")
                assert "without saying EXIT" in error


def test_signals_interrupt_no_step(house, molecule, rng, tmp_path):
    stream = run_of(molecule, 3, rng) + word("EXIT")
    over, seen = threading.Event(), []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))
    with evaluators(house, molecule, "worker") as evaluate:
        slow = replies([stream], molecule, evaluate, None, tmp_path / "failed.xyz")
        main = threading.main_thread().ident

        def disturb():
            while not over.is_set():
                signal.pthread_kill(main, signal.SIGUSR1)

        thread = threading.Thread(target=disturb)
        thread.start()
        try:
            fast = replies(cut(stream, rng), molecule, evaluate, evaluate, tmp_path / "failed.xyz")
        finally:
            over.set()
            thread.join()
            signal.signal(signal.SIGUSR1, before)
    assert fast == slow
    assert seen and evaluate.in_lane > STEPS // 2


def test_a_worker_that_dies_in_the_lane_is_replaced(house, molecule, rng, tmp_path):
    """Stopped before a step, so that it dies between the request and the answer."""
    stream = run_of(molecule, 1, rng)
    with evaluators(house, molecule, "worker") as evaluate:
        wanted = replies([stream + word("EXIT")], molecule, evaluate, None, tmp_path / "failed.xyz")

        def pieces():
            steps = stream.split(word("POSDATA"))
            yield steps[0]
            for number, step in enumerate(steps[1:]):
                if number == 6:
                    process = evaluate.evaluate._process
                    os.kill(process.pid, signal.SIGSTOP)
                    threading.Timer(0.3, process.kill).start()
                yield word("POSDATA") + step
            yield word("EXIT")

        got = replies(pieces(), molecule, evaluate, evaluate, tmp_path / "failed.xyz")
        assert evaluate.evaluate.started == 2
        assert evaluate.in_lane > STEPS // 2 - 2
    assert got == wanted
