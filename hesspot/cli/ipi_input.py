"""`hesspot ipi-input`: a folder from which an i-PI run starts."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from hesspot.cli.names import model_names
from hesspot.cli.options import Elements, symbols_of

Name = Literal["nve", "nvt", "npt", "pimd", "trpmd", "piglet", "committee", "ti", "instanton"]


def ipi_input(
    case: Annotated[Name, typer.Argument(help="kind of run")],
    structure: Annotated[
        Path,
        typer.Argument(help="start structure, readable by ASE, the last of several; a saddle point for instanton"),
    ],
    models: Annotated[
        list[Path],
        typer.Argument(
            help="exported model file or shipped:NAME; a committee file, or several, for committee",
            autocompletion=model_names,
        ),
    ],
    out: Annotated[Path, typer.Option(help="folder to write")],
    temperature: Annotated[float, typer.Option(help="K")] = 300.0,
    beads: Annotated[
        int | None, typer.Option(help="beads", show_default="pimd, trpmd: 32; piglet: 6; instanton: 20; others: 1")
    ] = None,
    timestep: Annotated[float, typer.Option(help="fs")] = 0.5,
    steps: Annotated[int, typer.Option(help="steps of dynamics")] = 10_000,
    stride: Annotated[int, typer.Option(help="steps between rows of simulation.out")] = 10,
    points: Annotated[int, typer.Option(help="couplings of a thermodynamic integration")] = 5,
    gle: Annotated[Path | None, typer.Option(help="file with the matrices of piglet, in i-PI's format")] = None,
    threshold: Annotated[
        float, typer.Option(min=0.0, help="eV; structures of a committee with more disagreement are kept; 0: none")
    ] = 0.0,
    pressure: Annotated[float, typer.Option(help="bar, of npt")] = 1.0,
    barostat: Annotated[
        Literal["isotropic", "flexible"], typer.Option(help="what moves in npt: the volume, or all lattice vectors")
    ] = "isotropic",
    velocities: Annotated[
        Literal["file", "thermal"],
        typer.Option(help="first velocities: those of the structure if it has any, or drawn from the temperature"),
    ] = "file",
    velocities_every: Annotated[
        int, typer.Option(min=0, help="steps between velocities that are written for `hesspot spectrum`; 0: none")
    ] = 0,
    seed: Annotated[int, typer.Option(help="of i-PI's random numbers")] = 1,
    elements: Elements = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="write into a folder that holds a run")] = False,
) -> None:
    """Write a commented input.xml, start.xyz and run.sh: constant energy (nve), temperature (nvt) and pressure (npt),
    path integrals (pimd, trpmd, piglet), a committee, free energies (ti), tunnelling rates (instanton)."""
    from hesspot.console import say
    from hesspot.ipi.cases import CASES, write_case
    from hesspot.ipi.inputs import RunSettings
    from hesspot.structures import read_structure

    settings = RunSettings(
        temperature=temperature,
        beads=CASES[case].beads if beads is None else beads,
        timestep=timestep,
        steps=steps,
        stride=stride,
        points=points,
        seed=seed,
        gle=gle,
        threshold=threshold,
        pressure=pressure,
        barostat=barostat,
        velocities=velocities,
        velocities_every=velocities_every,
    )
    write_case(case, read_structure(structure, elements=symbols_of(elements)), models, out, settings, overwrite)
    say(f"{out}: {CASES[case].about}")
    say(f"next: bash {out / 'run.sh'}")
