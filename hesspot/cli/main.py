"""`hesspot …`: the entry point that joins the subcommands."""

import sys

import typer
from rich.console import Console

from hesspot.cli import data, lammps
from hesspot.cli.export import export
from hesspot.cli.ipi_hessian import ipi_hessian
from hesspot.cli.ipi_input import ipi_input
from hesspot.cli.label import label
from hesspot.cli.study import study
from hesspot.cli.train import train
from hesspot.cli.verify import verify
from hesspot.errors import UserError

app = typer.Typer(
    help="Hessian-informed machine-learning potentials: label, train, export, run, verify.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback()
def _subcommands() -> None:
    """Keeps the subcommands' names, however many there are."""


app.command("label")(label)
app.add_typer(data.app, name="data")
app.command("train")(train)
app.command("study")(study)
app.command("export")(export)
app.command("verify")(verify)
app.add_typer(lammps.app, name="lammps")
app.command("ipi-input")(ipi_input)
app.command("ipi-hessian")(ipi_hessian)


def main() -> None:
    """Run the command line; a UserError becomes one sentence on stderr and exit status 1."""
    try:
        app()
    except UserError as error:
        Console(stderr=True, soft_wrap=True, highlight=False).print(f"hesspot: {error}", markup=False)
        sys.exit(1)


if __name__ == "__main__":
    main()
