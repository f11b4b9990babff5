"""Lists of dataclass objects as CSV files: numbers with all their digits, nothing where there is no value."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from hesspot.errors import UserError
from hesspot.files import write_atomically

Row = TypeVar("Row")


def write_rows(path: str | Path, kind: type[Row], rows: Sequence[Row]) -> None:
    """Write dataclass objects, one a line; the file appears complete or not at all."""
    path = Path(path)
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(kind)], lineterminator="\n")  # type: ignore[arg-type]
    writer.writeheader()
    for row in rows:
        writer.writerow(asdict(row))  # type: ignore[call-overload]
    write_atomically(path, text.getvalue().encode("utf-8"))


def read_rows(path: str | Path, kind: type[Row]) -> list[Row]:
    """Read what `write_rows` wrote; UserError for a missing or damaged file."""
    path = Path(path)
    hints = get_type_hints(kind)
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return [
                kind(**{key: _value(row[key], hint) for key, hint in hints.items()}) for row in csv.DictReader(stream)
            ]
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path} cannot be read ({error}); delete it and resume the study") from error


def _value(text: str, hint: Any) -> Any:
    kinds = [kind for kind in get_args(hint) or (hint,) if kind is not type(None)]
    return None if text == "" and get_args(hint) else kinds[0](text)
