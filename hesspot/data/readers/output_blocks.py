"""Blocks of program outputs that cclib 1.8 does not read, or reads wrongly: gradients and Hessians of four programs.

Each function gets the lines after the block's title and gives numbers as printed, in Hartree and bohr.
"""

import re
from collections.abc import Iterator

import numpy as np

_FLOAT = re.compile(r"[-+]?\d+\.\d*(?:[EeDd][-+]?\d+)?")
#: Lines between the title of a block and its first row.
TITLES = 6
#: What a row of an atom begins with: its number, its symbol.
_ATOM = re.compile(r"\s*(?:\d+\s+)?[A-Za-z]{1,2}[\w*]*\s*[-+]?\d*\.\d")


def floats(text: str) -> list[float]:
    """Every number with a point in a line, also where two stand without a blank between them."""
    return [float(word.replace("D", "E").replace("d", "e")) for word in _FLOAT.findall(text)]


def gradient(lines: Iterator[str], n: int) -> np.ndarray:
    """(n, 3) of the next n lines with an atom and three numbers, as GAMESS and DALTON print them."""
    return _rows(lines, n, 3)


def charged_gradient(lines: Iterator[str], n: int) -> np.ndarray:
    """(n, 3) of GAMESS's optimizer, which prints the nuclear charge, too."""
    return _rows(lines, n, 4)[:, 1:]


def placed_gradient(lines: Iterator[str], n: int) -> tuple[np.ndarray, np.ndarray]:
    """NWChem's coordinates (n, 3) and the gradient (n, 3) beside them."""
    rows = _rows(lines, n, 6)
    return rows[:, :3], rows[:, 3:]


def charged_positions(lines: Iterator[str], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Molpro's nuclear charges (n,) and coordinates (n, 3)."""
    rows = _rows(lines, n, 4)
    return rows[:, 0].round().astype(np.int64), rows[:, 1:]


def _rows(lines: Iterator[str], n: int, width: int) -> np.ndarray:
    """(n, width) of the next lines that begin with an atom, all else skipped; ValueError if they end before."""
    rows: list[list[float]] = []
    for i, line in enumerate(lines):
        if _ATOM.match(line) and len(values := floats(line)) == width:
            rows.append(values)
        elif (rows and line.strip()) or i > TITLES:
            break
        if len(rows) == n:
            return np.array(rows)
    raise ValueError(f"{len(rows)} of {n} atoms under a title")


def triangle(lines: Iterator[str], size: int, width: int) -> np.ndarray:
    """A symmetric matrix printed as a lower triangle in blocks of at most `width` columns.

    Rows of a block begin at its first column; lines without numbers are titles.
    """
    matrix = np.full((size, size), np.nan)
    for start in range(0, size, width):
        row = start
        while row < size:
            values = floats(next(lines))
            if not values:
                continue
            values = values[: row - start + 1]
            matrix[row, start : start + len(values)] = values
            row += 1
    lower = np.tril(matrix)
    return np.asarray(lower + np.tril(lower, -1).T)
