"""`hesspot ipi-hessian`: analytic Hessians where i-PI would take finite differences."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Purpose = Literal["vibrations", "instanton", "ffdebye", "scp", "imf", "minimize"]


def ipi_hessian(
    model: Annotated[Path, typer.Argument(help="exported model file")],
    geometry: Annotated[Path, typer.Argument(help="structure, or the beads of half a ring polymer, readable by ASE")],
    purpose: Annotated[Purpose, typer.Option("--for", help="what i-PI needs the Hessian for")],
    out: Annotated[Path, typer.Option(help="folder to write")],
    relax: Annotated[
        bool, typer.Option("--relax", help="go to the model's own stationary point first, minimum or saddle point")
    ] = False,
    temperature: Annotated[float, typer.Option(min=1e-3, help="K; for scp, imf, ffdebye, instanton")] = 300.0,
    beads: Annotated[int, typer.Option(min=2, help="beads of half the ring polymer, over a saddle point")] = 20,
    stretch: Annotated[float, typer.Option(min=0.0, help="Å from the saddle point to the ends of the path")] = 0.1,
) -> None:
    """Write the Hessian as i-PI reads it, with the input.xml, start.xyz and run.sh of a run that does."""
    from hesspot.errors import UserError
    from hesspot.export import read_model
    from hesspot.files import write_atomically
    from hesspot.ipi import curvature, inputs
    from hesspot.ipi.run_script import write_run_script

    loaded = read_model(model)
    structures = inputs.read_structures(geometry)
    if relax:
        if len(structures) > 1:
            raise UserError(
                f"{geometry} is a path of {len(structures)} beads, which --relax would destroy; leave it out"
            )
        structures = [curvature.relaxed(loaded, structures[0])]
    if purpose == "instanton" and len(structures) == 1:
        structures = curvature.path_over_saddle(loaded, structures[0], temperature, beads, stretch)
    out.mkdir(parents=True, exist_ok=True)
    here = curvature.derivatives(loaded, inputs.write_start(out / "start.xyz", *structures))
    xml = curvature.input_for(purpose, here, out, curvature.Settings(temperature))
    write_atomically(out / "input.xml", xml.encode())
    script = write_run_script(out, {} if purpose in curvature.WITHOUT_DRIVER else {curvature.ADDRESS: model})
    frequencies = ", ".join(f"{value:.1f}" for value in here.modes().frequencies[:6])
    print(
        f"{out}: analytic Hessian{'s of ' + str(len(here.beads)) + ' beads' if len(here.beads) > 1 else ''} for "
        f"{purpose}, {here.force_calls} force calls of i-PI saved"
    )
    print(f"largest force {here.largest_force:.1e} eV/Å; lowest frequencies {frequencies} cm⁻¹")
    print(f"next: bash {script}")
