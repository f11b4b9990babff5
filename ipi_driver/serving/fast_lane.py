"""Steps that are answered in C++ from i-PI's message to the reply, by `fast_lane.cpp`.

A step is ordinary if POSDATA and GETFORCE come together, the neighbour lists still hold, no structure is there twice
and the answer is finite, without extras. Anything else is left untaken and is answered in Python, where every error has
its sentence. Both give the same bytes. A lane holds for the batch and the edges, or the worker, that it was made for.
No torch here: the front process has none.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from hesspot.units import BOHR, HARTREE, HARTREE_PER_BOHR
from ipi_driver.evaluation.results import Shortcut
from ipi_driver.native.library import Step, library, structures
from ipi_driver.wire.protocol import CHUNK, Connection

#: i-PI's shared memory, in the order of `FrontLane` of fast_lane.h.
SEGMENTS = ("positions", "h", "energies", "forces", "virials")


class _Lane:
    """What both sides share; `structure` is the `ctypes` one that `step` of fast_lane.cpp takes."""

    def __init__(self, shortcut: Shortcut, n_structures: int, structure: Any, step: Callable[[ctypes.c_void_p], int]):
        self._made_for = shortcut, n_structures
        self._lane, self._step = structure, step
        self._pointer = ctypes.c_void_p(ctypes.addressof(structure))

    def leads_to(self, shortcut: Shortcut, n_structures: int) -> bool:
        """Whether it was made for these."""
        return self._made_for == (shortcut, n_structures)

    def counts(self) -> tuple[int, int, float]:
        """Steps answered since the last call, structures in each, CPU seconds in the model if it is in this process."""
        counts = self._lane.answered, self._lane.n_structures, self._lane.seconds
        self._lane.answered, self._lane.seconds = 0, 0.0
        return counts

    def _answer_ordinary(self) -> None:
        """Until a step is not. Signals are handled after each step."""
        while self._step(self._pointer) != Step.UNUSUAL:
            pass


class FastLane(_Lane):
    """Answers ordinary steps of one connection, in state READY."""

    def __init__(
        self,
        connection: Connection,
        shortcut: Shortcut,
        n_structures: int,
        n_atoms: int,
        segments: Mapping[str, np.ndarray] | None = None,
    ):
        numbers = n_structures * (10 + 3 * n_atoms)
        reply_size = 16 + 8 * numbers + 4 * n_structures
        self._buffers = np.empty(2 + numbers), np.empty(2 + numbers), np.empty(reply_size, dtype=np.uint8)
        shared = {} if segments is None else {name: segments[name].ctypes.data for name in SEGMENTS}
        request, answer, reply = (buffer.ctypes.data for buffer in self._buffers)
        self._segments = segments
        lane = structures()["FrontLane"](
            window=ctypes.addressof(connection.window),
            socket=connection.fileno(),
            pipe=shortcut.pipe,
            n_structures=n_structures,
            n_atoms=n_atoms,
            bohr=BOHR,
            hartree=HARTREE,
            hartree_per_bohr=HARTREE_PER_BOHR,
            request=request,
            answer=answer,
            reply=reply,
            task=shortcut.task,
            **shared,
        )
        super().__init__(shortcut, n_structures, lane, library().hesspot_front_step)

    def drive(self) -> None:
        """Answer ordinary steps until there is another message."""
        self._answer_ordinary()


def fast_lane(
    connection: Connection,
    shortcut: Shortcut,
    n_structures: int,
    n_atoms: int,
    segments: Mapping[str, np.ndarray] | None = None,
) -> FastLane | None:
    """A lane, or None for messages so large that it would gain nothing."""
    size = 8 * n_structures * (18 + 3 * n_atoms) + 64
    if size > CHUNK:
        return None
    connection.make_room(size)
    return FastLane(connection, shortcut, n_structures, n_atoms, segments)


class WorkerLane(_Lane):
    """The worker's side: answers what comes through a pipe with the edges of a shortcut."""

    def __init__(self, pipe: int, shortcut: Shortcut, n_structures: int, n_atoms: int):
        numbers = n_structures * (10 + 3 * n_atoms)
        self._request, self._answer = np.empty(2 + numbers), np.empty(2 + numbers)
        lane = structures()["WorkerLane"](
            pipe=pipe,
            n_structures=n_structures,
            n_atoms=n_atoms,
            request=self._request.ctypes.data,
            answer=self._answer.ctypes.data,
            task=shortcut.task,
        )
        super().__init__(shortcut, n_structures, lane, library().hesspot_worker_step)

    def drive(self) -> bytes:
        """Answer requests until there is another kind; the bytes of it that were read."""
        self._answer_ordinary()
        taken = self._request.tobytes()[: self._lane.filled]
        self._lane.filled = 0
        return taken
