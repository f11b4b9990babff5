"""Everything that a run of `hesspot-ipi` holds open, and how it is closed whatever happens."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import ase

from hesspot.errors import UserError
from ipi_driver.evaluation.results import Evaluate, QuickEvaluate
from ipi_driver.serving.mpi import abort, abort_on_crash, world
from ipi_driver.serving.responder import Answers
from ipi_driver.serving.signals import Terminated
from ipi_driver.settings import Settings, Split
from ipi_driver.wire.connect import Address, connect
from ipi_driver.wire.driver import Driver, InStream, Payload
from ipi_driver.wire.protocol import Connection
from ipi_driver.wire.shared_memory import InSharedMemory

if TYPE_CHECKING:
    from mpi4py.MPI import Comm

Tell = Callable[[str], None]


def serve_socket(
    settings: Settings,
    atoms: ase.Atoms,
    failed: Path,
    address: Address,
    timeout: float,
    shared_memory: bool,
    restarts: int,
    split: Split,
    tell: Tell,
) -> None:
    """Serve the i-PI at `address` until EXIT, with all ranks of an MPI job if this is one."""
    comm = world()
    with contextlib.ExitStack() as stack:
        quick: QuickEvaluate | None = None
        evaluate: Evaluate | None
        if comm is not None and comm.size > 1:
            evaluate = stack.enter_context(_ranks(settings, comm, split, tell))
        else:
            quick = stack.enter_context(_worker(settings, restarts, tell) if restarts else _here(settings, tell))
            evaluate = quick
        if evaluate is None:
            return
        answers = Answers(evaluate, atoms, settings.pbc, failed)
        connection = stack.enter_context(contextlib.closing(Connection(connect(address, timeout, tell))))
        tell(f"connected to {address}")
        payload: Payload = stack.enter_context(contextlib.closing(InSharedMemory())) if shared_memory else InStream()
        Driver(connection, answers, len(atoms), payload, quick).run()
        tell("i-PI said EXIT")


def serve_ffmpi(
    settings: Settings, atoms: ase.Atoms, failed: Path, name: str, group_size: int, split: Split, tell: Tell
) -> None:
    """Serve the i-PI that is rank 0 of this MPI job until EXIT. An error ends i-PI too: it would wait for ever."""
    comm = world()
    if comm is None:
        raise UserError(
            "--ffmpi needs an MPI job with i-PI in it; write mpirun -n 1 i-pi input.xml : -n N hesspot-ipi …"
        )
    from ipi_driver.wire import ffmpi

    abort_on_crash(comm)
    try:
        group = ffmpi.join(comm, name, group_size)
        with _ranks(settings, group, split, tell) if group.size > 1 else _here(settings, tell) as evaluate:
            if evaluate is not None:
                ffmpi.serve(comm, Answers(evaluate, atoms, settings.pbc, failed), len(atoms))
                tell("i-PI said EXIT")
    except UserError as error:
        tell(str(error))
        abort(comm)
    except Terminated as ended:
        tell(f"ended by {ended}")
        abort(comm, 128 + ended.number)


@contextlib.contextmanager
def _worker(settings: Settings, restarts: int, tell: Tell) -> Iterator[QuickEvaluate]:
    """Another process evaluates, and is replaced when it dies."""
    from ipi_driver.serving.worker import Worker

    with Worker(settings, restarts, tell) as worker:
        yield worker


@contextlib.contextmanager
def _here(settings: Settings, tell: Tell) -> Iterator[QuickEvaluate]:
    """This process evaluates."""
    from ipi_driver.evaluation.load import start_evaluator

    evaluator = start_evaluator(settings, tell)
    try:
        yield evaluator
    finally:
        if evaluator.calls:
            tell(evaluator.summary())


@contextlib.contextmanager
def _ranks(settings: Settings, comm: Comm, split: Split, tell: Tell) -> Iterator[Evaluate | None]:
    """All ranks of `comm` evaluate for the first one; the others get None when they have followed it to the end."""
    from ipi_driver.evaluation.load import start_evaluator
    from ipi_driver.serving.ranks import ROOT, Ranks

    if settings.extras != "none":
        raise UserError(
            f"--extras {settings.extras} is computed by one rank; leave it out, or start hesspot-ipi without mpirun"
        )
    abort_on_crash(comm)
    failure, evaluator = None, None
    try:
        evaluator = start_evaluator(settings, tell if comm.rank == ROOT else lambda text: None)
    except UserError as error:
        failure = str(error)
    failures = [text for text in comm.allgather(failure) if text is not None]
    if failures and comm.rank == ROOT:
        raise UserError(failures[0])
    if evaluator is None or failures:
        sys.exit(1)
    ranks = Ranks(comm, evaluator, split)
    if comm.rank != ROOT:
        if not ranks.follow():
            sys.exit(1)
        yield None
        return
    in_order = False
    try:
        yield ranks
        in_order = True
    finally:
        ranks.close(in_order)
        if evaluator.calls:
            tell(f"{evaluator.summary()} on {comm.size} ranks")
