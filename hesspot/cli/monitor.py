"""`hesspot monitor`: a production run against the trained model, while it runs or afterwards."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hesspot.cli.names import model_names
from hesspot.cli.options import Elements, symbols_of

if TYPE_CHECKING:
    from hesspot.monitor.clusters import Way

#: Exit status where a limit was passed.
PASSED = 3


def monitor(
    model: Annotated[str, typer.Argument(help="exported model file, or shipped:NAME", autocompletion=model_names)],
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
    radius: Annotated[float, typer.Option(min=0.0, help="Å around a flagged atom that its cluster has")] = 4.0,
    cluster: Annotated[
        str, typer.Option(help="whole: molecules; saturated: cut bonds end in H; frame: all of it, periodic")
    ] = "whole",
    clusters: Annotated[int, typer.Option(min=0, help="clusters of flagged atoms that are kept at most")] = 20,
    draw: Annotated[int, typer.Option(min=0, help="clusters around atoms drawn from each frame")] = 0,
    label: Annotated[
        str | None,
        typer.Option(help="label the clusters at the end: program and options of `hesspot label`", metavar="WORDS"),
    ] = None,
    on_limit: Annotated[str | None, typer.Option(help="shell command for the first limit that is passed")] = None,
    stop: Annotated[bool, typer.Option("--stop", help="end the watch when a limit is passed")] = False,
    forces: Annotated[Path | None, typer.Option(help="i-PI's file of forces")] = None,
    velocities: Annotated[Path | None, typer.Option(help="i-PI's file of velocities")] = None,
    energies: Annotated[Path | None, typer.Option(help="LAMMPS's log, or i-PI's properties, of the run")] = None,
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
    from hesspot.monitor.clusters import Cut
    from hesspot.monitor.kept import Keeping
    from hesspot.monitor.limits import parse_limits
    from hesspot.monitor.look import Settings
    from hesspot.monitor.run import Watch, watch
    from hesspot.monitor.trajectory import Source

    symbols = symbols_of(elements)
    limits = parse_limits(limit or [])
    words = None if label is None else _words(label)
    rows = watch(
        model,
        Source(trajectory, forces, velocities, symbols, units, template),
        out,
        Watch(
            settings=Settings(along, lowest),
            limits=limits,
            stated=[word.partition("=")[0] for word in limit or [] if word.partition("=")[0] in limits],
            energies=energies,
            keeping=Keeping(Cut(radius, _way(cluster)), clusters, draw),
            follow=not once,
            patience=patience,
            every=every,
            on_limit=on_limit,
            stop=stop,
        ),
        resume=resume,
    )
    if words is not None:
        _label(model, out, words)
    if any(row["flags"] or "broken" in row for row in rows):
        raise typer.Exit(PASSED)


def _way(word: str) -> "Way":
    from typing import get_args

    from hesspot.errors import UserError
    from hesspot.monitor.clusters import Way

    if word not in get_args(Way):
        raise UserError(f"--cluster {word} is not known: use one of {', '.join(get_args(Way))}")
    return word  # type: ignore[return-value]


def _words(label: str) -> list[str]:
    """The words of `--label`; UserError for a program that `hesspot label` does not have."""
    from hesspot.cli.label import PROGRAMS
    from hesspot.errors import UserError

    words = shlex.split(label)
    if not words or words[0] not in PROGRAMS:
        raise UserError(
            f"--label {label!r} begins with no program of `hesspot label`: write {', '.join(PROGRAMS)} and its "
            "options, as in --label 'tblite --method GFN1-xTB'"
        )
    return words


def _label(model: str, out: Path, words: list[str]) -> None:
    """Label what a watch has kept, as `hesspot label` does, and measure the model's error on it."""
    import json

    from hesspot.cli.label import label
    from hesspot.console import say, warn
    from hesspot.data import Dataset
    from hesspot.export import read_model
    from hesspot.files import write_atomically
    from hesspot.monitor.kept import all_clusters, write_together
    from hesspot.monitor.measured import measure, tell

    clusters, labels = all_clusters(out), out / "labels.h5"
    if not clusters:
        say("no cluster was kept, so that there is nothing to label; --draw 1 keeps one of each frame")
        return
    if labels.exists():
        warn(f"{labels} exists already and stays as it is; remove it, and it is made anew")
    else:
        program = typer.Typer()
        program.command()(label)
        given = [str(write_together(out)), "--out", str(labels), "--no-hessian", "--products", "2", "--program"]
        typer.main.get_command(program).main([*given, *words], prog_name="hesspot label", standalone_mode=False)
    dataset = Dataset.open(labels)
    found = tell(measure(read_model(model), clusters, dataset), dataset.level_of_theory, say)
    write_atomically(out / "errors.json", json.dumps(found, indent=1).encode())
