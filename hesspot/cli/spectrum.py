"""`hesspot spectrum`: the vibrational spectrum of a run, line by line against the harmonic one."""

from pathlib import Path
from typing import Annotated

import typer

from hesspot.cli.names import model_names
from hesspot.cli.options import Elements, Overwrite, symbols_of


def spectrum(
    run: Annotated[
        Path, typer.Argument(help="folder of `hesspot ipi-input`, text dump of LAMMPS, or XYZ with velocities")
    ],
    model: Annotated[
        str | None,
        typer.Option(help="exported model file, or shipped:NAME, for the harmonic modes", autocompletion=model_names),
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="a second run of the same atoms, such as one with beads", metavar="RUN")
    ] = None,
    timestep: Annotated[float | None, typer.Option(help="fs, of the runs", show_default="as i-PI's input says")] = None,
    discard: Annotated[float, typer.Option(help="fs at the beginning that are left out")] = 0.0,
    width: Annotated[float, typer.Option(help="standard deviation that a line gets, 1/cm")] = 10.0,
    velocities: Annotated[Path | None, typer.Option(help="i-PI's file of velocities, of RUN")] = None,
    template: Annotated[
        Path | None, typer.Option(help="structure whose periodic directions and masses hold, for i-PI's files")
    ] = None,
    units: Annotated[
        str | None, typer.Option(help="LAMMPS's units, where the file does not say", show_default="metal")
    ] = None,
    elements: Elements = None,
    json: Annotated[Path | None, typer.Option(help="file for all numbers", metavar="FILE")] = None,
    csv: Annotated[Path | None, typer.Option(help="file for the curves of RUN", metavar="FILE")] = None,
    html: Annotated[Path | None, typer.Option(help="page with figure, tables and modes", metavar="FILE")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Vibrational density of states from the velocities of a run, with errors; with --model each peak by its mode."""
    from rich.table import Table

    from hesspot.chemistry.vibrations import vibrations
    from hesspot.console import Progress, say, show
    from hesspot.errors import UserError
    from hesspot.files import require_free
    from hesspot.monitor import spectrum_report as report
    from hesspot.monitor.run_files import run_files
    from hesspot.monitor.run_spectrum import Reading, RunSpectrum, first_frame, run_spectrum

    files = [path for path in (json, csv, html) if path is not None]
    for path in files:
        require_free(path, overwrite)
    if len(set(files)) < len(files):
        raise UserError("two results were to be written into one file; give each its own name")
    symbols = symbols_of(elements)
    first = run_files(run, timestep=timestep, velocities=velocities, elements=symbols, units=units, template=template)
    runs = {run.resolve().name: first}
    if against is not None:
        if against.resolve() == run.resolve():
            raise UserError(f"--against {against} is the run itself; give another one")
        if against.is_dir():
            second = run_files(against, timestep=timestep)
        else:
            second = run_files(against, timestep=timestep, elements=symbols, units=units, template=template)
        name = against.resolve().name
        runs[str(against.resolve()) if name in runs else name] = second
    reference = first_frame(first[0])
    minimum = None
    if model is not None:
        minimum = vibrations(model, reference)
        reference = minimum.atoms
    spectra: dict[str, RunSpectrum] = {}
    for name, (source, step) in runs.items():
        with Progress(f"frames of {source.trajectory}", None) as progress:
            spectra[name] = run_spectrum(
                source,
                Reading(step, discard, width),
                reference,
                None if minimum is None else minimum.point.modes,
                progress.advance,
            )
    for line in report.notes(spectra, minimum):
        say(line)
    if minimum is not None:
        table = Table(*report.mode_columns(spectra))
        for column in table.columns[1:-1]:
            column.justify = "right"
        for row in report.mode_rows(spectra, minimum):
            table.add_row(*row)
        show(table)
    for name, each in spectra.items():
        table = Table("peak, cm⁻¹", "10⁻³ per cm⁻¹", *(["modes"] if minimum is not None else []), title=name)
        for row in report.peak_rows(each, minimum):
            table.add_row(*row)
        show(table)
    if json is not None:
        report.write_json(json, spectra, minimum)
    if csv is not None:
        report.write_csv(csv, next(iter(spectra.values())))
    if html is not None:
        report.write_page(html, f"Spectrum of {reference.get_chemical_formula()}", spectra, minimum)
    if files:
        say(f"written: {', '.join(map(str, files))}")
