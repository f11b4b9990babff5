"""MPI: the job that this process is part of, how all of it ends, and an evaluator over its ranks.

Ranks have whole structures each, or the atoms of structures are spread by centres. The root has the connection to i-PI
and calls the evaluator; the other ranks follow. A rank's share is a range of centres, counted through all structures,
and the whole is the sum over ranks.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from typing import TYPE_CHECKING

import numpy as np

from hesspot.errors import UserError
from hesspot.extras import install_hint
from ipi_driver.evaluation.results import EvaluationError, Results, distinct
from ipi_driver.settings import Split

if TYPE_CHECKING:
    from mpi4py.MPI import Comm

    from ipi_driver.evaluation.evaluator import Evaluator

ROOT = 0

#: One of these is set for every process that an MPI launcher started.
LAUNCHED = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK")

#: Seconds for the launcher to forward the last message before MPI_Abort.
TIME_TO_FORWARD = 0.5

#: Structures with fewer atoms are not worth spreading: a message costs as much as some atoms.
SMALL = 64

#: What the root broadcasts in the place of a number of structures.
END, END_WITH_ERROR = 0, -1


def world() -> Comm | None:
    """All ranks of the launcher that started this process; None without one. UserError if mpi4py does not work."""
    if not any(name in os.environ for name in LAUNCHED):
        return None
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise UserError(
            f"hesspot-ipi was started by an MPI launcher, but mpi4py does not work here ({error}); install it with: "
            f"{install_hint('mpi')}"
        ) from error
    return MPI.COMM_WORLD


def abort_on_crash(comm: Comm) -> None:
    """From now on an exception that nobody expects ends all ranks, after it was printed."""

    def crash(*exception: object) -> None:
        traceback.print_exception(*exception)  # type: ignore[call-overload]
        abort(comm)

    sys.excepthook = crash


def abort(comm: Comm, status: int = 1) -> None:
    """End all ranks of the job, wherever they are."""
    sys.stderr.flush()
    time.sleep(TIME_TO_FORWARD)
    comm.Abort(status)


def bounds(n_structures: int, n_atoms: int, size: int, split: Split) -> np.ndarray:
    """(size + 1,): rank r has the centres from its bound to the next, counting atoms through all structures."""
    if split == "auto":
        split = "beads" if n_atoms < SMALL or n_structures % size == 0 else "atoms"
    if split == "beads":
        return n_atoms * (n_structures * np.arange(size + 1) // size)
    return n_structures * n_atoms * np.arange(size + 1) // size


#: A sentence, and the structure that it is about, if it is about one.
Failure = tuple[str, int | None]


class Ranks:
    """The evaluator of a communicator. Each rank makes one; the root calls and closes it, the others `follow`."""

    def __init__(self, comm: Comm, evaluator: Evaluator, split: Split):
        self._comm = comm
        self._evaluator = evaluator
        self._split = split
        self._in_step = False

    def __call__(self, positions: np.ndarray, cells: np.ndarray) -> Results:
        """As `Evaluate`, on the root; UserError also for whatever goes wrong on another rank."""
        unique, place = distinct(positions, cells)
        self._evaluator.count(len(positions), len(unique))
        self._in_step = True
        self._comm.Bcast(np.array([len(unique)]), ROOT)
        message = np.concatenate([cells[unique].ravel(), positions[unique].ravel()])
        failures, total = self._step(message, len(unique))
        self._in_step = False
        for text, index in failures:
            raise UserError(text) if index is None else EvaluationError(text, unique[index])
        energy, forces, virial = np.split(total, [len(unique), len(unique) * (1 + 3 * positions.shape[1])])
        return Results(energy[place], forces.reshape(-1, *positions.shape[1:])[place], virial.reshape(-1, 3, 3)[place])

    def follow(self) -> bool:
        """What the other ranks do, until the root closes: whether that was in good order."""
        while True:
            count = np.empty(1, dtype=np.int64)
            self._comm.Bcast(count, ROOT)
            if count[0] <= END:
                return bool(count[0] == END)
            self._step(np.empty(count[0] * (9 + 3 * len(self._evaluator.symbols))), int(count[0]))

    def close(self, in_order: bool) -> None:
        """Let the other ranks end. If they are in the middle of an evaluation, MPI ends everything."""
        if self._in_step:
            self._comm.Abort(1)
        self._comm.Bcast(np.array([END if in_order else END_WITH_ERROR]), ROOT)

    def _step(self, message: np.ndarray, n_structures: int) -> tuple[list[Failure], np.ndarray]:
        """Cells and positions that the root has, evaluated together: what failed, and the sums, on the root.

        No rank leaves it early, so that no rank waits for another one for ever.
        """
        n_atoms = len(self._evaluator.symbols)
        self._comm.Bcast(message, ROOT)
        cells, positions = np.split(message, [9 * n_structures])
        ends = bounds(n_structures, n_atoms, self._comm.size, self._split)
        first, last = ends[self._comm.rank : self._comm.rank + 2].tolist()
        failure: Failure | None = None
        own = np.zeros(n_structures * (10 + 3 * n_atoms))
        try:
            part = self._evaluator.part(
                positions.reshape(n_structures, n_atoms, 3), cells.reshape(n_structures, 3, 3), first, last
            )
            own = np.concatenate([part.energy, part.forces.ravel(), part.virial.ravel()])
        except EvaluationError as error:
            failure = str(error), error.index
        except Exception as error:
            traceback.print_exc()
            failure = f"rank {self._comm.rank} failed ({type(error).__name__}: {error}); see what it printed", None
        failures = self._comm.gather(failure, ROOT) or []
        total = np.empty_like(own)
        self._comm.Reduce(own, total, root=ROOT)
        return [one for one in failures if one is not None], total
