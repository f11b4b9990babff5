"""Tasks spread over processes of one thread each: of this machine, or of all ranks that mpirun started."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager

from hesspot.errors import UserError
from hesspot.extras import install_hint


@contextmanager
def executor(jobs: int, *, mpi: bool = False) -> Iterator[Executor]:
    """Workers that end with this process.

    Args:
        jobs: one-thread processes on this machine.
        mpi: take the ranks of ``mpirun -n N python -m mpi4py.futures …`` in the place of `jobs`; rank 0 hands out.
    """
    pool: Executor
    if mpi:
        try:
            from mpi4py.futures import MPIPoolExecutor
        except ImportError as error:
            raise UserError(f"tasks over MPI need mpi4py: {install_hint('mpi')}") from error
        pool = MPIPoolExecutor()
    else:
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_end_with_parent)
    with _one_thread_for_children():
        try:
            yield pool
        finally:
            pool.shutdown(wait=mpi, cancel_futures=True)


@contextmanager
def _one_thread_for_children() -> Iterator[None]:
    """Processes that are started in this block compute on one thread: their libraries read the variable at start."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


def _end_with_parent() -> None:
    """Workers would wait for ever if the main process were killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        sys.stderr.flush()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
