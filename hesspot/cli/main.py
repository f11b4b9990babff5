"""`hesspot …`: the entry point that joins the subcommands."""

import sys

import typer
from rich.console import Console

from hesspot.errors import UserError

app = typer.Typer(
    help="Hessian-informed machine-learning potentials: label, train, export, run, verify.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def main() -> None:
    """Run the command line; a UserError becomes one sentence on stderr and exit status 1."""
    try:
        app()
    except UserError as error:
        Console(stderr=True, soft_wrap=True, highlight=False).print(f"hesspot: {error}", markup=False)
        sys.exit(1)


if __name__ == "__main__":
    main()
