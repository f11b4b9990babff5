"""ORCA's ``.hess`` and ``.engrad`` of one job, joined by their stem. No library reads both."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hesspot.data.readers.options import ATOMIC, Options
from hesspot.data.readers.raw import Raw, isotopes, numbers_of
from hesspot.errors import UserError

#: bohr; `.engrad` has seven decimals.
SAME_GEOMETRY = 1e-5


def read(path: Path, options: Options) -> Iterator[Raw]:
    """The one structure of ``NAME.hess`` and ``NAME.engrad``, either of which may be missing."""
    hess, engrad = path.with_suffix(".hess"), path.with_suffix(".engrad")
    place = f"structure {path.stem} of {path}"
    raw: Raw | None = None
    if engrad.is_file():
        energy, gradient, numbers, positions = _read_engrad(engrad)
        raw = Raw(place, numbers, positions, path.stem, ATOMIC, energy=energy, gradient=gradient)
    if hess.is_file():
        numbers, masses, positions, hessian = _read_hess(hess)
        if raw is None:
            raw = Raw(place, numbers, positions, path.stem, ATOMIC)
        elif len(numbers) != len(raw.numbers) or (numbers != raw.numbers).any():
            raise UserError(f"{hess} and {engrad} are of different molecules: rename one")
        elif (shift := np.abs(positions - raw.positions).max()) > SAME_GEOMETRY:
            raise UserError(
                f"{hess} and {engrad} are of geometries that differ by {shift:.2g} bohr: "
                "run both at one geometry, or rename one"
            )
        raw.positions, raw.hessian, raw.masses = positions, hessian, isotopes(numbers, masses)
    assert raw is not None
    yield raw


def _read_engrad(path: Path) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    words = [word for line in path.read_text().splitlines() if not line.startswith("#") for word in line.split()]
    try:
        n = int(words[0])
        energy, gradient = float(words[1]), np.array(words[2 : 2 + 3 * n], dtype=np.float64).reshape(n, 3)
        table = np.array(words[2 + 3 * n :]).reshape(n, 4)
        positions = table[:, 1:].astype(np.float64)
        symbols = table[:, 0]
    except (ValueError, IndexError) as error:
        raise UserError(f"{path} is no .engrad file of ORCA, or it is truncated: run the job again") from error
    numbers = symbols.astype(np.int64) if all(symbol.isdigit() for symbol in symbols) else symbols
    return energy, gradient, numbers_of(numbers, str(path)), positions


def _read_hess(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Atomic numbers, masses (amu), positions (bohr), Hessian (Hartree/bohr²)."""
    sections: dict[str, list[str]] = {}
    current: list[str] = []
    for line in path.read_text().splitlines():
        if line.startswith("$"):
            current = sections.setdefault(line[1:].strip(), [])
        elif line.strip():
            current.append(line)
    try:
        atoms = [line.split() for line in sections["atoms"][1:]]
        n = int(sections["atoms"][0])
        positions = np.array([words[2:5] for words in atoms], dtype=np.float64).reshape(n, 3)
        masses = np.array([words[1] for words in atoms], dtype=np.float64)
        hessian = _read_matrix(sections["hessian"])
    except (KeyError, ValueError, IndexError) as error:
        raise UserError(f"{path} is no .hess file of ORCA, or it is truncated: run the job again") from error
    return numbers_of([words[0] for words in atoms], str(path)), masses, positions, hessian


def _read_matrix(lines: list[str]) -> np.ndarray:
    """A matrix in blocks of columns, each under the numbers of its columns; ValueError where some are missing."""
    size = int(lines[0])
    matrix = np.full((size, size), np.nan)
    for start in range(1, len(lines), size + 1):
        columns = [int(word) for word in lines[start].split()]
        rows = [line.split() for line in lines[start + 1 : start + 1 + size]]
        matrix[np.ix_([int(row[0]) for row in rows], columns)] = [[float(word) for word in row[1:]] for row in rows]
    if np.isnan(matrix).any():
        raise ValueError("elements are missing")
    return matrix
