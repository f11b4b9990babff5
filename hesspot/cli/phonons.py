"""`hesspot phonons`: bands, density of states, thermodynamics and elastic constants of a crystal by a model."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from hesspot.cli.names import model_names
from hesspot.cli.options import Elements, Overwrite, symbols_of

Relax = Literal["cell", "positions", "none"]

#: K, where none are asked for.
TEMPERATURES = (0.0, 100.0, 298.15, 500.0, 1000.0)


def phonons(
    model: Annotated[str, typer.Argument(help="exported model file, or shipped:NAME", autocompletion=model_names)],
    cell: Annotated[Path, typer.Argument(help="crystal, any cell of it; the last of several, or FILE@NUMBER")],
    relax: Annotated[Relax, typer.Option(help="what goes to the model's minimum first, under its symmetry")] = "cell",
    supercell: Annotated[
        tuple[int, int, int] | None,
        typer.Option(
            help="multiples of the primitive lattice vectors, for phonopy",
            metavar="A B C",
            show_default="the smallest that holds all force constants",
        ),
    ] = None,
    temperature: Annotated[
        list[float] | None,
        typer.Option(
            "-t", "--temperature", help="K, again for each", show_default=" ".join(f"{t:g}" for t in TEMPERATURES)
        ),
    ] = None,
    tolerance: Annotated[float, typer.Option(help="Å, within which the structure has a symmetry")] = 1e-3,
    mass: Annotated[
        list[str] | None,
        typer.Option(help="amu of an element or of one atom, Li=6.015 or 3=6.015; again for each", metavar="WHO=MASS"),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="file for all numbers", metavar="FILE")] = None,
    phonopy: Annotated[
        Path | None, typer.Option(help="file for phonopy, with the force constants", metavar="FILE.yaml")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="picture of bands and density of states", metavar="FILE")] = None,
    html: Annotated[Path | None, typer.Option(help="page with all of it", metavar="FILE")] = None,
    relaxed: Annotated[
        Path | None, typer.Option(help="file for the primitive cell, extended XYZ", metavar="FILE")
    ] = None,
    elements: Elements = None,
    overwrite: Overwrite = False,
) -> None:
    """Bands, density of states, thermodynamics and elastic constants of a crystal, from exact second derivatives.

    hesspot phonons shipped:copper cu.cif --html cu.html --phonopy phonopy_params.yaml
    """
    from rich.table import Table

    from hesspot.chemistry import phonon_report as report
    from hesspot.chemistry.crystal_run import examine
    from hesspot.chemistry.vibrations import with_masses
    from hesspot.console import say, show
    from hesspot.errors import UserError
    from hesspot.files import replacing, require_free, write_atomically
    from hesspot.structures import read_structure

    files = [path for path in (json, phonopy, plot, html, relaxed) if path is not None]
    for path in files:
        require_free(path, overwrite)
    if len(set(files)) < len(files):
        raise UserError("two results were to be written into one file; give each its own name")
    if phonopy is not None and phonopy.suffix not in (".yaml", ".yml"):
        raise UserError(f"--phonopy {phonopy}: phonopy reads files that end in .yaml")
    if plot is not None and plot.suffix not in (".png", ".pdf", ".svg"):
        raise UserError(f"--plot {plot}: pictures are written as .png, .pdf or .svg")
    if supercell is not None and min(supercell) < 1:
        raise UserError(f"--supercell {' '.join(map(str, supercell))}: each multiple must be 1 or more")
    temperatures = sorted(temperature or TEMPERATURES)
    if temperatures[0] < 0:
        raise UserError(f"--temperature {temperatures[0]:g}: temperatures are in K, 0 or more")
    if not tolerance > 0:
        raise UserError(f"--tolerance {tolerance:g}: it must be above 0 Å")
    atoms = read_structure(cell, elements=symbols_of(elements))
    if mass:
        atoms = with_masses(atoms, mass)
    found = examine(
        model, atoms, f"the structure in {cell}", relax=relax, tolerance=tolerance, supercell=supercell,
        temperatures=temperatures,
    )  # fmt: skip
    for note in report.notes(found):
        say(note)
    elastic = found.elastic
    rows = report.elastic_rows(elastic.constants)
    for columns, lines in (
        (report.THERMO_COLUMNS, report.thermo_rows(found.phonons.thermodynamics)),
        (report.ELASTIC_COLUMNS, rows),
        (report.AVERAGE_COLUMNS, report.average_rows(elastic)),
    ):
        if lines:
            table = Table(*columns)
            for column in table.columns[1:]:
                column.justify = "right"
            for line in lines:
                table.add_row(*line)
            show(table)
    if json is not None:
        write_atomically(json, report.as_json(found))
    if phonopy is not None:
        with replacing(phonopy) as part:
            found.phonons.save(part)
    if plot is not None:
        with replacing(plot) as part:
            report.bands_and_dos(found.phonons).savefig(part, format=plot.suffix[1:])
    if html is not None:
        report.page(found).write(html, alone=True)
    if relaxed is not None:
        with replacing(relaxed) as part:
            found.atoms.write(part, format="extxyz")
    for path in files:
        say(f"written: {path}")
