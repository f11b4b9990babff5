"""Everything that a run of `hesspot-ipi` holds open, and how it is closed whatever happens."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import ase

from hesspot.errors import UserError
from ipi_driver.evaluation.results import Evaluate, QuickEvaluate
from ipi_driver.serving.process import log
from ipi_driver.serving.ranks import ROOT, Ranks, abort_on_crash
from ipi_driver.serving.responder import Responder
from ipi_driver.serving.transports import Transport
from ipi_driver.settings import EvaluatorSettings, Split

if TYPE_CHECKING:
    from mpi4py.MPI import Comm


def serve(
    settings: EvaluatorSettings, template: ase.Atoms, failed: Path, transport: Transport, restarts: int, split: Split
) -> None:
    """Serve i-PI until it ends, with all ranks of an MPI job that share the work.

    template: the atoms in i-PI's order; failed: file for a structure without an answer; restarts: how often in a row a
    process that evaluates and dies is replaced, 0 for none; split: what several ranks share.
    """
    with contextlib.ExitStack() as stack:
        comm = stack.enter_context(transport.ranks())
        quick: QuickEvaluate | None = None
        evaluate: Evaluate | None
        if comm is not None and comm.size > 1:
            evaluate = stack.enter_context(_ranks(settings, comm, split))
        else:
            in_worker = comm is None and restarts > 0
            quick = stack.enter_context(_worker(settings, restarts) if in_worker else _here(settings))
            evaluate = quick
        if evaluate is not None:
            log(transport.serve(Responder(evaluate, template, settings.pbc, failed), quick))


@contextlib.contextmanager
def _worker(settings: EvaluatorSettings, restarts: int) -> Iterator[QuickEvaluate]:
    """Another process evaluates, and is replaced when it dies."""
    from ipi_driver.serving.worker import Worker

    with Worker(settings, restarts, log) as worker:
        yield worker


@contextlib.contextmanager
def _here(settings: EvaluatorSettings) -> Iterator[QuickEvaluate]:
    """This process evaluates."""
    from ipi_driver.evaluation.load import load_evaluator

    evaluator = load_evaluator(settings, log)
    try:
        yield evaluator
    finally:
        if evaluator.calls:
            log(evaluator.summary())


@contextlib.contextmanager
def _ranks(settings: EvaluatorSettings, comm: Comm, split: Split) -> Iterator[Evaluate | None]:
    """All ranks of `comm` evaluate for the first one; the others get None when they have followed it to the end."""
    from ipi_driver.evaluation.load import load_evaluator

    if settings.extras != "none":
        raise UserError(
            f"--extras {settings.extras} is computed by one rank; leave it out, or start hesspot-ipi without mpirun"
        )
    abort_on_crash(comm)
    failure, evaluator = None, None
    try:
        evaluator = load_evaluator(settings, log if comm.rank == ROOT else lambda text: None)
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
            log(f"{evaluator.summary()} on {comm.size} ranks")
