"""`hesspot audit`: an engine on trial, whoever made it."""

from pathlib import Path
from typing import Annotated

import typer

from hesspot.cli.options import Overwrite
from hesspot.errors import UserError


def audit(
    engines: Annotated[
        list[str],
        typer.Argument(
            help="'lammps:FRAGMENT elements=Si,C', 'ase:module:factory key=value', 'ipi:COMMAND with {address}', or a "
            "hesspot file; each in quotes"
        ),
    ],
    structures: Annotated[
        list[Path] | None,
        typer.Option("--structures", help="file of structures; several times, or FILE@0:5", show_default="made ones"),
    ] = None,
    elements: Annotated[
        str | None, typer.Option(help="elements of the structures that are made: Si or C,H,O,N")
    ] = None,
    accuracy: Annotated[
        float, typer.Option(help="part of the largest force that does not matter; mesh sums have 1e-4")
    ] = 1e-6,
    checks: Annotated[
        str, typer.Option(help="comma-separated: precision,gradient,strain,invariance,history,smoothness,dynamics")
    ] = "precision,gradient,strain,invariance,history,smoothness,dynamics",
    json: Annotated[Path | None, typer.Option(help="write the report to this file")] = None,
    html: Annotated[Path | None, typer.Option(help="write the report as one page to look at")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Is an engine consistent by itself, and do engines agree?

    Forces and virial against differences of the energy, symmetry of the Hessian, what must not change the answer
    (order, place, orientation, images, lattice, ranks, lists), steps at the cutoff, precision, a run at constant
    energy; and every engine against the first. Exit status 0 only if no check failed.

    hesspot audit 'lammps:in.si elements=Si' 'ase:my.py:calculator' --html audit.html
    """
    from hesspot.audit.engines.spec import parse_engine, require_heard
    from hesspot.audit.run import audit as run
    from hesspot.audit.structures import made_for
    from hesspot.audit.tables import tables
    from hesspot.console import Progress, say, show
    from hesspot.files import require_free
    from hesspot.structures import read_structures

    for path in (json, html):
        if path is not None:
            require_free(path, overwrite)
    stated = tuple(symbol.strip() for symbol in (elements or "").split(",") if symbol.strip())
    specs = [parse_engine(text, stated) for text in engines]
    chosen = {}
    for file in structures or []:
        for number, atoms in enumerate(read_structures(file)):
            name = f"{file.name.partition('@')[0]} {number}"
            require_heard(specs, name, atoms)
            chosen[name] = atoms
    if not chosen:
        known = stated or next((spec.elements for spec in specs if spec.elements), ())
        if not known:
            raise UserError(
                "no structures were given, and no elements to make some of; give --structures or --elements"
            )
        chosen = made_for(known)
    with Progress("structures", None) as live:

        def progress(engine: str, structure: str) -> None:
            live.advance(note=f"{engine}: {structure}")

        report, trials = run(
            {spec.text: spec.engine for spec in specs},
            chosen,
            accuracy=accuracy,
            checks=[name.strip() for name in checks.split(",") if name.strip()],
            progress=progress,
        )
    show(tables(report))
    if json is not None:
        report.write(json)
        say(f"report: {json}")
    if html is not None:
        from hesspot.audit.page import write_page

        write_page(html, report, trials)
        say(f"page: {html}")
    if not report.passed:
        raise typer.Exit(1)
