"""The MPI job that this process is part of, and how all of it ends."""

from __future__ import annotations

import os
import sys
import time
import traceback
from typing import TYPE_CHECKING

from hesspot.errors import UserError

if TYPE_CHECKING:
    from mpi4py.MPI import Comm

#: One of these is set for every process that an MPI launcher started.
LAUNCHED = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK")

#: Seconds for the launcher to forward the last message before MPI_Abort.
TIME_TO_FORWARD = 0.5


def world() -> Comm | None:
    """All ranks of the launcher that started this process; None without one. UserError if mpi4py does not work."""
    if not any(name in os.environ for name in LAUNCHED):
        return None
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise UserError(
            f"hesspot-ipi was started by an MPI launcher, but mpi4py does not work here ({error}); install it with: "
            "pip install 'hesspot[mpi]'"
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
