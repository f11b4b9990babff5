"""`hesspot lammps hessian|modes|vdos`: exact curvature of a system as a LAMMPS script leaves it."""

from pathlib import Path
from typing import Annotated, Any

import typer

from hesspot.cli.lmp_arguments import Extra
from hesspot.cli.options import Overwrite

Script = Annotated[Path, typer.Argument(help="LAMMPS input script that ends with the structure", metavar="IN_FILE")]
Ranks = Annotated[int, typer.Option("-n", "--ranks", help="number of MPI ranks")]
Group = Annotated[str, typer.Option(help="group of LAMMPS whose atoms move; all others are held")]


def hessian(
    script: Script,
    extra: Extra = None,
    ranks: Ranks = 1,
    group: Group = "all",
    out: Annotated[Path, typer.Option(help="file to write, .npy or .h5")] = Path("hessian.npy"),
    overwrite: Overwrite = False,
    mass_weighted: Annotated[bool, typer.Option(help="divide by the roots of the masses")] = False,
) -> None:
    """Write the full Hessian, eV/Å² or eV/(Å² amu), symmetric, atoms in ascending order of their IDs."""
    from hesspot.errors import UserError

    if out.suffix not in (".npy", ".h5", ".hdf5"):
        raise UserError(f"--out {out}: the Hessian is written as .npy or as .h5")
    _start(script, extra, ranks, out, overwrite, kind="hessian", group=group, mass_weighted=mass_weighted)


def modes(
    script: Script,
    extra: Extra = None,
    ranks: Ranks = 1,
    group: Group = "all",
    number: Annotated[int, typer.Option(help="number of modes")] = 20,
    highest: Annotated[bool, typer.Option(help="the highest modes instead of the lowest")] = False,
    out: Annotated[Path, typer.Option(help="file to write, .npz")] = Path("modes.npz"),
    overwrite: Overwrite = False,
) -> None:
    """Print the frequencies of the lowest or highest modes, and write them with their eigenvectors."""
    from hesspot.errors import UserError

    if out.suffix != ".npz":
        raise UserError(f"--out {out}: modes are written as .npz")
    if number < 1:
        raise UserError(f"--number {number}: there must be one mode or more")
    _start(script, extra, ranks, out, overwrite, kind="modes", group=group, n_modes=number, highest=highest)


def vdos(
    script: Script,
    extra: Extra = None,
    ranks: Ranks = 1,
    group: Group = "all",
    vectors: Annotated[int, typer.Option(help="random vectors")] = 20,
    steps: Annotated[int, typer.Option(help="Lanczos steps for each; more than the highest frequency / width")] = 300,
    width: Annotated[float, typer.Option(help="standard deviation of a mode's Gaussian, 1/cm")] = 20.0,
    assemble: Annotated[
        bool, typer.Option(help="compute the sparse Hessian first: faster from some hundred products, if it fits")
    ] = False,
    out: Annotated[Path, typer.Option(help="file to write, .csv")] = Path("vdos.csv"),
    overwrite: Overwrite = False,
) -> None:
    """Write the vibrational density of states of a system of any size, by stochastic Lanczos quadrature."""
    from hesspot.errors import UserError

    if vectors < 1 or steps < 1 or not width > 0:
        raise UserError(f"--vectors {vectors} --steps {steps} --width {width}: all of these must be positive")
    _start(
        script,
        extra,
        ranks,
        out,
        overwrite,
        kind="vdos",
        group=group,
        n_vectors=vectors,
        n_steps=steps,
        width=width,
        assemble=assemble,
    )


def _start(
    script: Path, extra: list[str] | None, ranks: int, out: Path, overwrite: bool, kind: str, **asked: Any
) -> None:
    from hesspot.files import require_free
    from hesspot.lammps.curvature_run import run_curvature

    require_free(out, overwrite)
    ended = run_curvature(
        kind,
        script,
        out,
        ranks=ranks,
        arguments=extra or [],
        report=lambda message: typer.echo(message, err=True),
        **asked,
    )
    raise typer.Exit(ended.returncode)


def spectrum(
    script: Script,
    extra: Extra = None,
    ranks: Ranks = 1,
    out: Annotated[Path, typer.Option(help="folder to write, a new one")] = Path("spectrum"),
    width: Annotated[float, typer.Option(help="standard deviation of a line, 1/cm")] = 20.0,
    lanczos: Annotated[int, typer.Option(min=1, help="products H·v; more than the highest frequency / width")] = 300,
    temperature: Annotated[float, typer.Option(help="of the run, K")] = 0.01,
    timestep: Annotated[float, typer.Option(help="of the run, fs")] = 0.5,
    steps: Annotated[int, typer.Option(min=10, help="of the run; time beyond 30000 fs / width adds nothing")] = 3000,
    stride: Annotated[int, typer.Option(min=1, help="steps between two looks at the velocities")] = 4,
) -> None:
    """Compare the spectrum of a cold run with the exact Hessian: same box, same model, one figure.

    From the minimum that is nearest to the structure which the script leaves; fixes of the script are taken away.
    """
    from hesspot.console import say
    from hesspot.errors import UserError
    from hesspot.monitor.spectrum import cold_spectrum

    if out.exists():
        raise UserError(f"{out} exists already; choose another --out")
    if not (width > 0 and temperature > 0 and timestep > 0):
        raise UserError(f"--width {width} --temperature {temperature} --timestep {timestep}: all must be positive")
    bands = cold_spectrum(
        script,
        out,
        ranks=ranks,
        arguments=extra or [],
        width=width,
        lanczos=lanczos,
        temperature=temperature,
        timestep=timestep,
        steps=steps,
        stride=stride,
        report=lambda message: say(message, stderr=True),
    )
    say("band, 1/cm         weight, % (Hessian, run)   mean frequency, 1/cm (Hessian, run, difference)")
    for band in bands:
        weights = "  ".join(f"{100 * weight:8.3f}" for weight in band.weight)
        means = "  ".join(f"{mean:9.2f}" for mean in band.mean)
        say(f"{band.low:6.0f} to {band.high:6.0f}   {weights}         {means}  {band.mean[1] - band.mean[0]:+.2f}")
    say(f"figure: {out / 'spectrum.png'}")
