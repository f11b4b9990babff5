"""`hesspot vibrations`: frequencies, modes and thermochemistry of a structure by a model."""

from pathlib import Path
from typing import Annotated

import typer

from hesspot.cli.names import model_names
from hesspot.cli.options import Elements, Overwrite, atoms_in, symbols_of


def vibrations(
    model: Annotated[str, typer.Argument(help="exported model file, or shipped:NAME", autocompletion=model_names)],
    structure: Annotated[Path, typer.Argument(help="structure file; the last structure, or FILE@NUMBER")],
    relax: Annotated[
        bool, typer.Option("--relax/--no-relax", help="go to the minimum first; else it must be stationary already")
    ] = True,
    saddle: Annotated[bool, typer.Option("--saddle", help="go to the saddle point instead")] = False,
    active: Annotated[
        str | None, typer.Option(help="atoms that move, counted from 0; all others are held", metavar="0-5,8")
    ] = None,
    frozen: Annotated[str | None, typer.Option(help="atoms that are held", metavar="0-5,8")] = None,
    mass: Annotated[
        list[str] | None,
        typer.Option(help="amu of an element or of one atom, H=2.014 or 3=2.014; again for each", metavar="WHO=MASS"),
    ] = None,
    scale: Annotated[float, typer.Option(help="factor for all frequencies")] = 1.0,
    temperature: Annotated[float, typer.Option(help="K")] = 298.15,
    pressure: Annotated[float | None, typer.Option(help="bar, of a gas", show_default="1.01325")] = None,
    symmetry: Annotated[
        int | None, typer.Option(help="symmetry number of the rotation of a molecule", show_default="its rotations")
    ] = None,
    spin: Annotated[
        float | None, typer.Option(help="total spin of the electrons, 0, 0.5, 1, …", show_default="the lowest")
    ] = None,
    soft: Annotated[float, typer.Option(help="cm⁻¹, where quasi-RRHO goes over to free rotors")] = 100.0,
    json: Annotated[Path | None, typer.Option(help="file for all numbers", metavar="FILE")] = None,
    xyz: Annotated[Path | None, typer.Option(help="file for the modes, extended XYZ", metavar="FILE")] = None,
    molden: Annotated[Path | None, typer.Option(help="file for the modes, Molden's format", metavar="FILE")] = None,
    html: Annotated[Path | None, typer.Option(help="page with modes that move", metavar="FILE")] = None,
    relaxed: Annotated[Path | None, typer.Option(help="file for the structure, extended XYZ", metavar="FILE")] = None,
    elements: Elements = None,
    overwrite: Overwrite = False,
) -> None:
    """Frequencies, modes and thermochemistry from the model's exact Hessian at a minimum or a saddle point."""
    from rich.table import Table

    from hesspot.chemistry import vibration_report as report
    from hesspot.chemistry.mode_files import write_json, write_molden, write_structure, write_xyz
    from hesspot.chemistry.surface import Surface
    from hesspot.chemistry.thermochemistry import TREATMENTS, conditions_for, thermochemistry
    from hesspot.chemistry.vibrations import Goal, hold, vibrations, with_masses
    from hesspot.console import Progress, say, show
    from hesspot.errors import UserError
    from hesspot.files import require_free
    from hesspot.structures import read_structure

    if saddle and not relax:
        raise UserError("--saddle goes to a saddle point, and --no-relax goes nowhere; give one of them")
    files = [path for path in (json, xyz, molden, html, relaxed) if path is not None]
    for path in files:
        require_free(path, overwrite)
    if len(set(files)) < len(files):
        raise UserError("two results were to be written into one file; give each its own name")
    atoms = read_structure(structure, elements=symbols_of(elements))
    atoms = hold(atoms, atoms_in(active, "--active"), atoms_in(frozen, "--frozen"))
    atoms = with_masses(atoms, mass or [])
    conditions_for(atoms, temperature, pressure, symmetry, spin, soft)
    surface = Surface(model)
    goal: Goal = "saddle" if saddle else "minimum" if relax else "as it is"
    with Progress("forces and Hessians", None):
        found = vibrations(surface, atoms, goal=goal, scale=scale)
    conditions = conditions_for(found.atoms, temperature, pressure, symmetry, spin, soft)
    thermo = [thermochemistry(found, conditions, treatment) for treatment in TREATMENTS]
    notes = report.notes(found, conditions)
    for line in notes:
        say(line)
    if len(found.frequencies):
        table = Table(*report.MODE_COLUMNS)
        for column in table.columns[1:4]:
            column.justify = "right"
        for row in report.mode_rows(found):
            table.add_row(*row)
        show(table)
    table = Table("", *(each.treatment for each in thermo))
    for column in table.columns[1:]:
        column.justify = "right"
    for row in report.thermo_rows(found, thermo):
        table.add_row(*row)
    show(table)
    if json is not None:
        write_json(json, model, found, conditions, thermo, notes)
    if xyz is not None:
        write_xyz(xyz, found)
    if molden is not None:
        write_molden(molden, found)
    if html is not None:
        report.write_page(html, model, found, conditions, thermo)
    if relaxed is not None:
        write_structure(relaxed, found)
    if files:
        say(f"written: {', '.join(map(str, files))}")
