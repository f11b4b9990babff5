"""`hesspot verify`: the same questions asked of every engine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hesspot.cli.names import dataset_names, engine_names, model_names
from hesspot.cli.options import Overwrite
from hesspot.errors import UserError

if TYPE_CHECKING:
    from hesspot.verification.report import EngineReport


def verify(
    model: Annotated[Path, typer.Argument(help="exported model file, or shipped:NAME", autocompletion=model_names)],
    data: Annotated[
        str | None,
        typer.Option(
            help="dataset file, or shipped:NAME, with reference values",
            autocompletion=dataset_names,
            show_default="the file's fingerprint",
        ),
    ] = None,
    part: Annotated[str, typer.Option(help="part of the dataset: train, valid, test or all")] = "test",
    engines: Annotated[
        str | None,
        typer.Option(
            help="comma-separated: torch, torchscript, ase, lammps, ipi",
            autocompletion=engine_names,
            show_default="all; without torch, those that need none",
        ),
    ] = None,
    ranks: Annotated[str, typer.Option(help="comma-separated numbers of MPI ranks for lammps")] = "1,2",
    max_structures: Annotated[
        int, typer.Option("--max", help="structures asked of each engine; the model error is over all")
    ] = 8,
    allow_mixed_levels: Annotated[
        bool, typer.Option("--allow-mixed-levels", help="compare with reference values of another level of theory")
    ] = False,
    dynamic: Annotated[
        bool, typer.Option("--dynamic", help="runs of LAMMPS and i-PI too: energy kept, cold spectrum, beads; minutes")
    ] = False,
    json: Annotated[Path | None, typer.Option(help="write the report to this file")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Compare every engine with the trained model, and the trained model with its reference.

    Exit status 0 only if every engine ran and every deployment error is within its tolerance.
    """
    from hesspot.console import Progress, say, show
    from hesspot.files import require_free
    from hesspot.verification.run import verify as run
    from hesspot.verification.tables import tables

    if json is not None:
        require_free(json, overwrite)
    with Progress("engines", None) as live:

        def progress(label: str, report: "EngineReport | None") -> None:
            if report is None:
                live.advance(0, note=f"{label} …")
            else:
                outcome = "done" if report.passed else "FAILED"
                say(f"{label}: {outcome} in {report.seconds:.1f} s")

        report = run(
            model,
            data=data,
            part=None if part == "all" else part,
            engines=None if engines is None else [name.strip() for name in engines.split(",") if name.strip()],
            ranks=_numbers(ranks),
            max_structures=max_structures,
            allow_mixed_levels=allow_mixed_levels,
            dynamic=dynamic,
            progress=progress,
        )
    say(report.runs)
    show(tables(report))
    if json is not None:
        report.write(json)
        say(f"report: {json}")
    if not report.passed:
        raise typer.Exit(1)


def _numbers(text: str) -> list[int]:
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise UserError(f"--ranks {text!r} is no list of numbers; write it as 1,2") from None
