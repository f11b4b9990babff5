"""A worker process that evaluates, and the front's side of it: a worker that dies is replaced.

The front process owns the connection to i-PI and knows no torch; it hands every request to the worker and keeps it
until the answer is there. So whatever ends a worker (kill -9, out of memory, a crash of a library), the same structures
go to the next one, and i-PI sees a late answer. The worker ends when its pipe does, so it never outlives the front.

========= ======================================================== ====================================================
direction bytes of one message                                     next
========= ======================================================== ====================================================
to        `EvaluatorSettings`, pickled                                      from: None, pickled (ready), or an error
to        int64 N, float64 cells (9 N), positions (3 N n)          from: int64 OK or FAILED, int64 length, float64
                                                                   energies, forces, virials, then as many bytes of
                                                                   extras, or an error
from      error: (sentence, index or None), pickled
========= ======================================================== ====================================================

What is pickled comes after its length (int64).
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from hesspot.errors import UserError
from ipi_driver.evaluation.results import EvaluationError, Results, Shortcut
from ipi_driver.serving.fast_lane import WorkerLane
from ipi_driver.serving.process import log
from ipi_driver.settings import EvaluatorSettings
from ipi_driver.wire.protocol import decode_extras, encode_extras

if TYPE_CHECKING:
    from ipi_driver.evaluation.evaluator import Evaluator

#: Seconds that a worker has to end by itself when its pipe is closed, or after it broke.
GRACE = 10.0

OK, FAILED = 0, 1
_COUNT, _ANSWER = struct.Struct("=q"), struct.Struct("=qq")

T = TypeVar("T")


class Worker:
    """An evaluator in another process. Use it as a context manager: no process is left behind.

    A worker that dies is replaced at most `restarts` times in a row without an evaluation in between. `started` counts
    the workers; the first one is ready when the constructor returns.
    """

    def __init__(self, settings: EvaluatorSettings, restarts: int, log: Callable[[str], None]):
        self.started = 0
        self._settings = settings
        self._restarts = restarts
        self._log = log
        self._died = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: socket.socket | None = None
        try:
            self._retry(lambda pipe: None)
        except BaseException:
            self.close(at_once=True)
            raise

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.close(at_once=error is not None and not isinstance(error, UserError))

    def __call__(self, positions: np.ndarray, cells: np.ndarray) -> Results:
        """As `Evaluate`; UserError also if workers die too often."""
        n_structures, n_atoms, _ = positions.shape
        request = b"".join([_COUNT.pack(n_structures), cells.tobytes(), positions.tobytes()])
        size = 8 * n_structures * (10 + 3 * n_atoms)

        def ask(pipe: socket.socket) -> Results:
            pipe.sendall(request)
            answer = _receive(pipe, _ANSWER.size + size)
            status, length = _ANSWER.unpack_from(answer)
            rest = _receive(pipe, length)
            if status == FAILED:
                _raise(pickle.loads(rest))
            numbers = np.frombuffer(answer, offset=_ANSWER.size)
            return Results.of(numbers, n_structures, decode_extras(rest, n_structures) if length else ())

        results = self._retry(ask)
        self._died = 0
        return results

    def shortcut(self, n_structures: int) -> Shortcut | None:
        """The pipe of the worker, for any number of structures."""
        return Shortcut(pipe=self._pipe.fileno()) if self._pipe and self._settings.extras == "none" else None

    def add_counts(self, calls: int, n_structures: int, seconds: float) -> None:
        """As `QuickEvaluate`; the worker counts by itself."""

    def close(self, at_once: bool) -> None:
        """End the worker; `at_once` if it may be in the middle of an evaluation."""
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.0 if at_once else GRACE)
            self._process.kill()
            self._process.wait()
            self._process = None

    def _retry(self, ask: Callable[[socket.socket], T]) -> T:
        while True:
            try:
                return ask(self._pipe or self._start())
            except (EOFError, OSError):
                self._clear_dead_worker()

    def _start(self) -> socket.socket:
        self._pipe, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-P", "-m", "ipi_driver.serving.worker", str(theirs.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        self.started += 1
        _send_object(self._pipe, self._settings)
        error = _receive_object(self._pipe)
        if error is not None:
            _raise(error)
        return self._pipe

    def _clear_dead_worker(self) -> None:
        """Tidy up after a worker whose pipe broke. UserError if no other one may be started."""
        process = self._process
        self.close(at_once=False)
        reason = _reason(process.returncode) if process is not None else "did not start"
        self._died += 1
        if self._died > self._restarts:
            raise UserError(
                f"the process that evaluates {reason}, {self._died} times without an evaluation in between; look at "
                "the memory of this machine and at what was printed before"
            )
        self._log(f"the process that evaluates {reason}; the next one starts, and i-PI waits for its answer")


def _reason(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    name = signal.Signals(-status).name
    return f"was ended by {name}" + (" (by hand, or the machine is out of memory)" if name == "SIGKILL" else "")


def _raise(error: tuple[str, int | None]) -> None:
    message, index = error
    raise UserError(message) if index is None else EvaluationError(message, index)


def _receive(pipe: socket.socket, length: int) -> bytes:
    """Exactly `length` bytes; EOFError if the other side is gone."""
    data = pipe.recv(length, socket.MSG_WAITALL) if length else b""
    while len(data) < length:
        more = pipe.recv(length - len(data), socket.MSG_WAITALL)
        if not more:
            raise EOFError
        data += more
    return data


def _send_object(pipe: socket.socket, value: object) -> None:
    data = pickle.dumps(value)
    pipe.sendall(_COUNT.pack(len(data)) + data)


def _receive_object(pipe: socket.socket) -> Any:
    return pickle.loads(_receive(pipe, *_COUNT.unpack(_receive(pipe, _COUNT.size))))


def _receive_request(pipe: socket.socket, begun: bytes, n_atoms: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions and cells of the request whose first bytes are `begun`."""
    data = begun + _receive(pipe, max(_COUNT.size - len(begun), 0))
    (n,) = _COUNT.unpack_from(data)
    data += _receive(pipe, _COUNT.size + 8 * n * (9 + 3 * n_atoms) - len(data))
    cells, positions = np.split(np.frombuffer(data, offset=_COUNT.size), [9 * n])
    return positions.reshape(n, n_atoms, 3), cells.reshape(n, 3, 3)


def _answer(evaluator: Evaluator, positions: np.ndarray, cells: np.ndarray) -> bytes:
    n_structures, n_atoms, _ = positions.shape
    try:
        results = evaluator(positions, cells)
    except EvaluationError as error:
        rest = pickle.dumps((str(error), error.index))
        return _ANSWER.pack(FAILED, len(rest)) + bytes(8 * n_structures * (10 + 3 * n_atoms)) + rest
    extras = encode_extras(results.extras, n_structures) if results.extras else b""
    numbers = (results.energy.tobytes(), results.forces.tobytes(), results.virial.tobytes())
    return b"".join([_ANSWER.pack(OK, len(extras)), *numbers, extras])


def _lane(
    pipe: socket.socket, evaluator: Evaluator, n_structures: int, n_atoms: int, last: WorkerLane | None
) -> WorkerLane | None:
    """A lane for the next steps, if they are like the last one: the `last` lane, if it still leads there."""
    shortcut = evaluator.shortcut(n_structures)
    if shortcut is None:
        return None
    if last is not None and last.leads_to(shortcut, n_structures):
        return last
    return WorkerLane(pipe.fileno(), shortcut, n_structures, n_atoms)


def work(pipe: socket.socket) -> None:
    """The worker: evaluate what comes through the pipe until it closes."""
    from ipi_driver.evaluation.load import load_evaluator

    settings: EvaluatorSettings = _receive_object(pipe)
    try:
        evaluator = load_evaluator(settings, log)
    except UserError as error:
        _send_object(pipe, (str(error), None))
        return
    _send_object(pipe, None)
    n_atoms = len(settings.symbols)
    lane: WorkerLane | None = None
    begun = b""
    with contextlib.suppress(EOFError, ConnectionResetError, BrokenPipeError):
        while True:
            positions, cells = _receive_request(pipe, begun, n_atoms)
            pipe.sendall(_answer(evaluator, positions, cells))
            lane = _lane(pipe, evaluator, len(positions), n_atoms, lane)
            begun = lane.drive() if lane else b""
            if lane:
                evaluator.add_counts(*lane.counts())
    if evaluator.calls:
        log(evaluator.summary())


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the front ends this process
    work(socket.socket(fileno=int(sys.argv[1])))
    sys.stderr.flush()
    os._exit(0)  # taking torch down in order may take longer than the front waits
