"""`hesspot-ipi`: the command line of the driver."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from hesspot.errors import UserError
from ipi_driver.serving.process import Terminated, log, raise_on_signals

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def serve(
    model: Annotated[Path, typer.Argument(help="model file made by `hesspot export`, or shipped:NAME")],
    template: Annotated[Path, typer.Option(help="structure with the atoms in the order of i-PI's input")],
    unix: Annotated[str | None, typer.Option(help="address of a unix socket, as in i-PI's input")] = None,
    shm: Annotated[str | None, typer.Option(help="address of a socket with mode='shm'")] = None,
    inet: Annotated[str | None, typer.Option(help="HOST:PORT of an inet socket")] = None,
    ffmpi: Annotated[str | None, typer.Option(help="name of an ffmpi, in one MPI job with i-PI")] = None,
    group_size: Annotated[int, typer.Option(min=1, help="ranks that share the work, with --ffmpi")] = 1,
    split: Annotated[
        Literal["auto", "beads", "atoms"], typer.Option(help="what several MPI ranks share: structures, or their atoms")
    ] = "auto",
    prefix: Annotated[str, typer.Option(help="what i-PI puts before the address of a unix socket")] = "/tmp/ipi_",
    dtype: Annotated[Literal["float64", "float32"], typer.Option(help="precision of the model")] = "float64",
    threads: Annotated[int, typer.Option(min=1, help="threads of this process that share the atoms of a batch")] = 1,
    device: Annotated[str, typer.Option(help="torch device: cpu, cuda, cuda:1, …")] = "cpu",
    timeout: Annotated[float, typer.Option(min=0.0, help="seconds to wait for i-PI's socket")] = 60.0,
    pbc: Annotated[Literal["auto", "true", "false"], typer.Option(help="auto: as the template says")] = "auto",
    skin: Annotated[float, typer.Option(min=0.0, help="Å that neighbour lists reach beyond the cutoff")] = 0.5,
    extras: Annotated[
        Literal["none", "hvp", "hessian", "committee"],
        typer.Option(help="curvature, or the members of a committee, for i-PI's extras (JSON, atomic units)"),
    ] = "none",
    lone_atoms: Annotated[
        Literal["error", "allow"], typer.Option(help="what an atom is that leaves all others, beyond the cutoff")
    ] = "error",
    expect: Annotated[
        str | None, typer.Option(help="elements in i-PI's order: symbols that repeat ('O H H'), or i-PI's own file")
    ] = None,
    elements: Annotated[
        str | None, typer.Option(help="elements of LAMMPS's atom types, for a template that has types only: O,H")
    ] = None,
    restarts: Annotated[
        int, typer.Option(min=0, help="how often in a row a process that evaluates and dies is replaced; 0: no process")
    ] = 3,
    failed: Annotated[
        Path | None,
        typer.Option(help="file for a structure without an answer", show_default="hesspot-ipi-failed-PID.xyz"),
    ] = None,
) -> None:
    """Serve energies, forces and virials of MODEL to i-PI until it says EXIT.

    Exit status 0 after EXIT, or when ASE closes the connection with every question answered; 1 after an error (also
    when i-PI goes away without EXIT), 128 + n after signal n.
    """
    from hesspot.electrons import stated_electrons
    from ipi_driver.serving.session import serve as serve_until_the_end
    from ipi_driver.serving.transports import TransportOptions, open_transport
    from ipi_driver.settings import EvaluatorSettings
    from ipi_driver.template import check_expected, periodic_directions, read_template

    given = {"unix": unix, "shm": shm, "inet": inet, "ffmpi": ffmpi}
    transport = open_transport(given, TransportOptions(prefix, timeout, group_size))
    types = None if elements is None else [symbol.strip() for symbol in elements.split(",")]
    atoms = read_template(template, types)
    if expect is not None:
        check_expected(atoms, expect)
    directions = periodic_directions(atoms, template, pbc)
    stated = stated_electrons(atoms, f"the template {template}")
    start = atoms if lone_atoms == "error" else None
    settings = EvaluatorSettings(
        model, tuple(atoms.symbols), directions, dtype, device, skin, extras, threads, start, *stated
    )
    failed = failed or Path(f"hesspot-ipi-failed-{os.getpid()}.xyz")
    serve_until_the_end(settings, atoms, failed, transport, restarts, split)


def main() -> None:
    """Run the command line; a UserError becomes one sentence on stderr and exit status 1."""
    raise_on_signals()
    try:
        app()
    except UserError as error:
        log(str(error))
        sys.exit(1)
    except Terminated as ended:
        log(f"ended by {ended}")
        sys.exit(128 + ended.number)


if __name__ == "__main__":
    main()
