"""Options that several commands share."""

from collections.abc import Sequence
from typing import Annotated

import typer

Elements = Annotated[
    str | None,
    typer.Option("--elements", help="elements of LAMMPS's atom types 1, 2, … where a file has types only: O,H"),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace a file of this name")]


def symbols_of(elements: str | None) -> Sequence[str] | None:
    """The symbols in the text of `--elements`."""
    return None if elements is None else [symbol.strip() for symbol in elements.split(",")]
