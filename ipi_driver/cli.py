"""`hesspot-ipi`: the command line of the driver."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from hesspot.errors import UserError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class Terminated(Exception):
    """A signal asked the driver to end."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number


def tell(text: str) -> None:
    """One line on stderr, at once."""
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"hesspot-ipi: {text}", markup=False)


@app.command()
def serve(
    model: Annotated[Path, typer.Argument(help="model file made by `hesspot export`")],
    template: Annotated[Path, typer.Option(help="structure with the atoms in the order of i-PI's input")],
    unix: Annotated[str | None, typer.Option(help="address of a unix socket, as in i-PI's input")] = None,
    shm: Annotated[str | None, typer.Option(help="address of a socket with mode='shm'")] = None,
    inet: Annotated[str | None, typer.Option(help="HOST:PORT of an inet socket")] = None,
    prefix: Annotated[str, typer.Option(help="what i-PI puts before the address of a unix socket")] = "/tmp/ipi_",
    dtype: Annotated[Literal["float64", "float32"], typer.Option(help="precision of the model")] = "float64",
    device: Annotated[str, typer.Option(help="torch device: cpu, cuda, cuda:1, …")] = "cpu",
    timeout: Annotated[float, typer.Option(min=0.0, help="seconds to wait for i-PI's socket")] = 60.0,
    pbc: Annotated[Literal["auto", "true", "false"], typer.Option(help="auto: as the template says")] = "auto",
    skin: Annotated[float, typer.Option(min=0.0, help="Å that neighbour lists reach beyond the cutoff")] = 0.5,
    failed: Annotated[
        Path | None, typer.Option(help="file for a structure without an answer [hesspot-ipi-failed-PID.xyz]")
    ] = None,
) -> None:
    """Serve energies, forces and virials of MODEL to i-PI until i-PI says EXIT.

    Exit status 0 after EXIT, 1 after an error (also when i-PI goes away without EXIT), 128 + n after signal n.
    """
    from ipi_driver.answers import Answers
    from ipi_driver.connect import connect, inet_address, unix_address
    from ipi_driver.driver import Driver, InStream
    from ipi_driver.protocol import Connection
    from ipi_driver.shm import InSharedMemory
    from ipi_driver.start import open_evaluator

    if [unix, shm, inet].count(None) != 2:
        raise UserError(
            "give one of --unix NAME, --shm NAME and --inet HOST:PORT, the address and mode of the ffsocket in i-PI's "
            "input"
        )
    name = unix or shm
    address = unix_address(name, prefix) if name is not None else inet_address(str(inet))
    evaluator, atoms = open_evaluator(model, template, dtype, device, pbc, skin, tell)
    answers = Answers(evaluator, atoms, evaluator.pbc, failed or Path(f"hesspot-ipi-failed-{os.getpid()}.xyz"))
    with contextlib.ExitStack() as stack:
        connection = Connection(connect(address, timeout, tell))
        stack.callback(connection.close)
        tell(f"connected to {address}")
        start = time.monotonic()
        payload = InStream() if shm is None else stack.enter_context(contextlib.closing(InSharedMemory()))
        try:
            Driver(connection, answers, len(atoms), payload).run()
            tell("i-PI said EXIT")
        finally:
            tell(
                f"{answers.calls} evaluations of {evaluator.received} structures ({evaluator.evaluated} distinct ones, "
                f"{evaluator.lists.built} neighbour lists) in {time.monotonic() - start:.1f} s"
            )


def _terminate(number: int, frame: object) -> None:
    signal.signal(number, signal.SIG_IGN)
    raise Terminated(number)


def main() -> None:
    """Run the command line; a UserError becomes one sentence on stderr and exit status 1."""
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGINT, _terminate)
    try:
        app()
    except UserError as error:
        tell(str(error))
        sys.exit(1)
    except Terminated as ended:
        tell(f"ended by {ended}")
        sys.exit(128 + ended.number)


if __name__ == "__main__":
    main()
