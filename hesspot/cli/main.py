"""`hesspot …`: the entry point that joins the subcommands."""

import sys
from typing import Annotated

import typer

import hesspot
from hesspot.cli import data, lammps
from hesspot.cli.ase import SETTINGS, ase
from hesspot.cli.audit import audit
from hesspot.cli.distill import distill
from hesspot.cli.examples import add_examples
from hesspot.cli.export import export
from hesspot.cli.ipi_frames import ipi_frames
from hesspot.cli.ipi_hessian import ipi_hessian
from hesspot.cli.ipi_input import ipi_input
from hesspot.cli.label import label
from hesspot.cli.models import models
from hesspot.cli.monitor import monitor
from hesspot.cli.names import complete_after_colon
from hesspot.cli.phonons import phonons
from hesspot.cli.reaction import reaction
from hesspot.cli.sample import sample
from hesspot.cli.spectrum import spectrum
from hesspot.cli.study import study
from hesspot.cli.train import train
from hesspot.cli.verify import verify
from hesspot.cli.vibrations import vibrations
from hesspot.console import say
from hesspot.errors import UserError, in_words
from hesspot.extras import is_torch, torch_is_missing
from hesspot.pages import pages_folder

app = typer.Typer(
    help="Hessian-informed machine-learning potentials: label, train, export, run, verify.",
    epilog=f"Pages (docs) and examples are in {pages_folder()}.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"hesspot {hesspot.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options of the program itself; keeps the subcommands' names, however many there are."""


DATA, CHEMISTRY, CHECKS, ENGINES = "Data and models", "Chemistry", "Checks", "Engines"

app.command("sample", rich_help_panel=DATA)(sample)
app.command("label", rich_help_panel=DATA)(label)
app.add_typer(data.app, name="data", rich_help_panel=DATA)
app.command("train", rich_help_panel=DATA)(train)
app.command("study", rich_help_panel=DATA)(study)
app.command("distill", rich_help_panel=DATA)(distill)
app.command("export", rich_help_panel=DATA)(export)
app.command("models", rich_help_panel=DATA)(models)
app.command("vibrations", rich_help_panel=CHEMISTRY)(vibrations)
app.command("reaction", rich_help_panel=CHEMISTRY)(reaction)
app.command("phonons", rich_help_panel=CHEMISTRY)(phonons)
app.command("spectrum", rich_help_panel=CHEMISTRY)(spectrum)
app.command("verify", rich_help_panel=CHECKS)(verify)
app.command("audit", rich_help_panel=CHECKS)(audit)
app.command("monitor", rich_help_panel=CHECKS)(monitor)
app.add_typer(lammps.app, name="lammps", rich_help_panel=ENGINES)
app.command("ipi-input", rich_help_panel=ENGINES)(ipi_input)
app.command("ipi-hessian", rich_help_panel=ENGINES)(ipi_hessian)
app.command("ipi-frames", rich_help_panel=ENGINES)(ipi_frames)
app.command("ase", context_settings=SETTINGS, rich_help_panel=ENGINES)(ase)
add_examples(app)


def main() -> None:
    """Run the command line; a UserError, a file that cannot be used, or torch that is needed and not there becomes one
    sentence and exit status 1."""
    try:
        complete_after_colon(app)
    except (UserError, OSError) as error:
        say(f"hesspot: {in_words(error)}", stderr=True)
        sys.exit(1)
    except ModuleNotFoundError as error:
        if not is_torch(error):
            raise
        words = " ".join(["hesspot", *sys.argv[1:2]])
        say(f"hesspot: {torch_is_missing(f'`{words}`, as it was called,')}", stderr=True)
        sys.exit(1)
