"""`hesspot monitor`: a production run against the trained model, while it runs or afterwards."""

from pathlib import Path
from typing import Annotated

import typer

from hesspot.cli.options import Elements, symbols_of

#: Exit status where a limit was passed.
PASSED = 3


def monitor(
    model: Annotated[str, typer.Argument(help="exported model file, or shipped:NAME")],
    trajectory: Annotated[Path, typer.Argument(help="text dump of LAMMPS, or XYZ of i-PI, LAMMPS or ASE")],
    out: Annotated[Path, typer.Option(help="folder for what is found")] = Path("monitor"),
    once: Annotated[bool, typer.Option("--once", help="look at what is there, and do not wait for more")] = False,
    patience: Annotated[
        float | None,
        typer.Option(help="seconds without a new frame after which the run has ended", show_default="none"),
    ] = None,
    every: Annotated[int, typer.Option(min=1, help="look at every so many frames")] = 1,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            help="force, spread, distance, lowest, temperature, hottest; again for each", metavar="NAME=VALUE"
        ),
    ] = None,
    along: Annotated[
        bool | None,
        typer.Option(
            "--along/--no-along", help="curvature along the motion", show_default="where there are velocities"
        ),
    ] = None,
    lowest: Annotated[int, typer.Option(min=0, help="Lanczos steps for the lowest curvature; 0: not asked")] = 0,
    on_limit: Annotated[str | None, typer.Option(help="shell command for the first limit that is passed")] = None,
    stop: Annotated[bool, typer.Option("--stop", help="end the watch when a limit is passed")] = False,
    forces: Annotated[Path | None, typer.Option(help="i-PI's file of forces")] = None,
    velocities: Annotated[Path | None, typer.Option(help="i-PI's file of velocities")] = None,
    template: Annotated[
        Path | None, typer.Option(help="structure whose periodic directions and masses hold, for i-PI's files")
    ] = None,
    units: Annotated[
        str | None, typer.Option(help="LAMMPS's units, where the file does not say", show_default="metal")
    ] = None,
    elements: Elements = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on where the watch in --out stopped")] = False,
) -> None:
    """Compare frames of a run with the trained model: forces, curvature, committee, distance from the training data.

    Exit status 0 if no limit was passed, 3 if one was.
    """
    from hesspot.monitor.limits import parse_limits
    from hesspot.monitor.look import Settings
    from hesspot.monitor.run import Watch, watch
    from hesspot.monitor.trajectory import Source

    symbols = symbols_of(elements)
    rows = watch(
        model,
        Source(trajectory, forces, velocities, symbols, units, template),
        out,
        Watch(
            settings=Settings(along, lowest),
            limits=parse_limits(limit or []),
            follow=not once,
            patience=patience,
            every=every,
            on_limit=on_limit,
            stop=stop,
        ),
        resume=resume,
    )
    if any(row["flags"] or "broken" in row for row in rows):
        raise typer.Exit(PASSED)
