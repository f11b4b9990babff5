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


def atoms_in(text: str | None, option: str) -> list[int] | None:
    """The atoms, counted from 0, in the text of an option such as 0-5,8; UserError for what names none."""
    from hesspot.errors import UserError

    if text is None:
        return None
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = (word.strip() for word in part.partition("-"))
        last = last if dash else first
        if not (first.isdecimal() and last.isdecimal() and int(first) <= int(last)):
            raise UserError(
                f"{option} {text}: {part.strip()!r} names no atoms; write their numbers from 0 on, as in 0-5,8"
            )
        found.update(range(int(first), int(last) + 1))
    return sorted(found)
