"""`hesspot ipi-hessian`: analytic Hessians where i-PI would take finite differences."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from hesspot.cli.names import model_names
from hesspot.cli.options import Elements, symbols_of

Purpose = Literal["vibrations", "instanton", "ffdebye", "scp", "imf", "minimize"]


def ipi_hessian(
    model: Annotated[Path, typer.Argument(help="exported model file, or shipped:NAME", autocompletion=model_names)],
    geometry: Annotated[Path, typer.Argument(help="structure, the last of several, or beads of a path for instanton")],
    purpose: Annotated[Purpose, typer.Option("--for", help="what i-PI needs the Hessian for")],
    out: Annotated[Path, typer.Option(help="folder to write")],
    relax: Annotated[
        bool, typer.Option("--relax", help="go to the model's own stationary point first, minimum or saddle point")
    ] = False,
    temperature: Annotated[float, typer.Option(min=1e-3, help="K; for scp, imf, ffdebye, instanton")] = 300.0,
    beads: Annotated[int, typer.Option(min=2, help="beads of half the ring polymer, over a saddle point")] = 20,
    stretch: Annotated[float, typer.Option(min=0.0, help="Å from the saddle point to the ends of the path")] = 0.1,
    elements: Elements = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="write into a folder that holds a run")] = False,
) -> None:
    """Write the Hessian as i-PI reads it, with the input.xml, start.xyz and run.sh of a run that does."""
    from hesspot.console import say
    from hesspot.electrons import require_trained
    from hesspot.errors import UserError
    from hesspot.export import read_model
    from hesspot.files import write_atomically
    from hesspot.ipi import curvature, inputs
    from hesspot.ipi.run_script import new_run, write_run_script
    from hesspot.structures import read_structure

    loaded = read_model(model)
    types = symbols_of(elements)
    structures = (
        inputs.read_beads(geometry, types) if purpose == "instanton" else [read_structure(geometry, elements=types)]
    )
    for number, bead in enumerate(structures):
        where = f"structure {number} of {geometry}" if len(structures) > 1 else f"the structure in {geometry}"
        require_trained(bead, where, loaded.electrons)
    if relax:
        if len(structures) > 1:
            raise UserError(
                f"{geometry} is a path of {len(structures)} beads, which --relax would destroy; leave it out"
            )
        structures = [curvature.relaxed(loaded, structures[0])]
    if purpose == "instanton" and len(structures) == 1:
        structures = curvature.path_over_saddle(loaded, structures[0], temperature, beads, stretch)
    with new_run(out, overwrite) as part:
        here = curvature.derivatives(loaded, inputs.write_start(part / "start.xyz", *structures))
        xml = curvature.input_for(purpose, here, part, inputs.RunSettings(temperature))
        write_atomically(part / "input.xml", xml.encode())
        write_run_script(part, {} if purpose in curvature.WITHOUT_DRIVER else {curvature.ADDRESS: model})
    frequencies = ", ".join(f"{value:.1f}" for value in here.frequencies()[:6])
    say(
        f"{out}: analytic Hessian{'s of ' + str(len(here.beads)) + ' beads' if len(here.beads) > 1 else ''} for "
        f"{purpose}, {here.force_calls} force calls of i-PI saved"
    )
    say(f"largest force {here.largest_force:.1e} eV/Å; lowest frequencies {frequencies} cm⁻¹")
    say(f"next: bash {out / 'run.sh'}")
