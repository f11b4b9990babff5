"""`hesspot ipi-input`: a folder from which an i-PI run starts."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Name = Literal["nve", "nvt", "pimd", "trpmd", "piglet", "committee", "ti", "instanton"]


def ipi_input(
    case: Annotated[Name, typer.Argument(help="kind of run")],
    structure: Annotated[Path, typer.Argument(help="start structure, readable by ASE; a saddle point for instanton")],
    models: Annotated[
        list[Path], typer.Argument(help="exported model file; a committee file, or several, for committee")
    ],
    out: Annotated[Path, typer.Option(help="folder to write")],
    temperature: Annotated[float, typer.Option(help="K")] = 300.0,
    beads: Annotated[
        int | None, typer.Option(help="beads [pimd, trpmd: 32; piglet: 6; instanton: 20; others: 1]")
    ] = None,
    timestep: Annotated[float, typer.Option(help="fs")] = 0.5,
    steps: Annotated[int, typer.Option(help="steps of dynamics")] = 10_000,
    stride: Annotated[int, typer.Option(help="steps between rows of simulation.out")] = 10,
    points: Annotated[int, typer.Option(help="couplings of a thermodynamic integration")] = 5,
    gle: Annotated[Path | None, typer.Option(help="file with the matrices of piglet, in i-PI's format")] = None,
    threshold: Annotated[
        float, typer.Option(min=0.0, help="eV; structures of a committee with more disagreement are kept [0: none]")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="of i-PI's random numbers")] = 1,
) -> None:
    """Write a commented input.xml, start.xyz and run.sh: constant energy (nve), constant temperature (nvt), path
    integrals (pimd, trpmd, piglet), several models (committee), free energies (ti), tunnelling rates (instanton)."""
    from hesspot.ipi.cases import CASES, Settings, write_case
    from hesspot.ipi.inputs import read_structures

    settings = Settings(temperature, beads or CASES[case].beads, timestep, steps, stride, points, seed, gle, threshold)
    write_case(case, read_structures(structure)[0], models, out, settings)
    print(f"{out}: {CASES[case].about}")
    print(f"next: bash {out / 'run.sh'}")
