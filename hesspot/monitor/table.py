"""The live table: a line for each frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Columns: key in a row of `frames.jsonl`, title, width, format. Those of atoms name the atom behind the number.
_COLUMNS = (
    ("step", "step", 10, "d"),
    ("temperature", "T, K", 8, ".1f"),
    ("energy", "energy, eV", 16, ".4f"),
    ("energy_error", "error/atom", 10, ".1e"),
    ("force", "force error", 11, ".2e"),
    ("spread", "spread", 9, ".3f"),
    ("along", "vHv/vMv", 9, ".3f"),
    ("lowest", "lowest, 1/cm", 12, ".1f"),
    ("distance", "distance", 9, ".2f"),
    ("seconds", "s", 7, ".2f"),
)
_ATOM = 9


def head(row: Mapping[str, Any]) -> str:
    """Titles of the columns that the first row has."""
    words = []
    for key, title, width, _ in _COLUMNS:
        if key in row:
            words.append(f"{title:>{width}}")
            if key in row["at"]:
                words.append(f"{'atom':>{_ATOM}}")
    return " ".join(words)


def line(row: Mapping[str, Any], first: Mapping[str, Any]) -> str:
    """The row under the titles of the first one, and what is beyond its limit."""
    words = []
    for key, _, width, form in _COLUMNS:
        if key not in first:
            continue
        words.append(f"{row[key]:>{width}{form}}" if key in row else " " * width)
        if key in first["at"]:
            words.append(f"{row['at'].get(key, ''):>{_ATOM}}")
    return " ".join(words)
