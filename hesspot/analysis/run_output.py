"""Readers of what runs print: LAMMPS thermo output and i-PI properties."""

import re
from pathlib import Path

import numpy as np

from hesspot.errors import UserError

Columns = dict[str, np.ndarray]


def read_lammps_thermo(path: str | Path) -> list[Columns]:
    """The thermo tables of a LAMMPS log (styles one, custom and yaml), one per run, each with its columns by name.

    UserError if there is none. A table that ends early (a run that was stopped) is given as far as it goes.
    """
    path = Path(path)
    tables: list[tuple[list[str], list[list[float]]]] = []
    inside = False
    for line in _lines(path):
        words = line.split()
        if line.startswith("keywords:"):
            tables.append((re.findall(r"[^\s\[\],'\"]+", line.partition(":")[2]), []))
            inside = True
        elif words[:1] == ["Step"]:
            tables.append((words, []))
            inside = True
        elif line.startswith(("Loop time", "...")):
            inside = False
        elif inside:
            row = _numbers(re.sub(r"^\s*- \[|\]\s*$|,", " ", line))
            if row is not None and len(row) == len(tables[-1][0]):
                tables[-1][1].append(row)
    found = [_columns(names, rows) for names, rows in tables if rows]
    if not found:
        raise UserError(f"{path} has no thermo output of style one, custom or yaml; check that the run was started")
    return found


def read_ipi_properties(path: str | Path) -> Columns:
    """The columns of an i-PI properties file by name with unit, such as `potential{electronvolt}`.

    A property of several columns is (n, columns). UserError for a file of another kind or without rows.
    """
    path = Path(path)
    layout: list[tuple[str, int, int]] = []
    rows = []
    for line in _lines(path):
        header = re.match(r"#\s*(?:column|cols\.)\s*(\d+)(?:-(\d+))?\s*-->\s*(\S+)", line)
        if header:
            first = int(header[1])
            layout.append((header[3], first - 1, int(header[2] or first)))
        elif not line.startswith("#"):
            row = _numbers(line)
            if row is not None and layout and len(row) == layout[-1][2]:
                rows.append(row)
    if not layout or not rows:
        raise UserError(f"{path} has no rows of i-PI properties; check that the run was started and writes them")
    values = np.array(rows)
    return {name: values[:, first] if last == first + 1 else values[:, first:last] for name, first, last in layout}


def column(columns: Columns, name: str) -> np.ndarray:
    """The column of that name, with or without its unit in braces; UserError if there is none."""
    for full, values in columns.items():
        if full == name or full.partition("{")[0] == name:
            return values
    raise UserError(f"there is no column {name!r}, only {', '.join(columns)}; add it to the run's output")


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise UserError(f"output file {path} does not exist; check that the run was started")
    return path.read_text(encoding="utf-8", errors="replace").splitlines()


def _numbers(text: str) -> list[float] | None:
    try:
        return [float(word) for word in text.split()]
    except ValueError:
        return None


def _columns(names: list[str], rows: list[list[float]]) -> Columns:
    return dict(zip(names, np.array(rows).T, strict=True))
