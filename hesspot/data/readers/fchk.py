"""Gaussian's formatted checkpoint file.

Libraries that read it want orbitals too, or turn energies into eV with constants of their own; what is needed here
is a few labelled arrays, all in Hartree and bohr, all in the orientation of the coordinates.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hesspot.data.readers.options import ATOMIC, Options
from hesspot.data.readers.raw import Raw, isotopes, numbers_of
from hesspot.errors import UserError

_WANTED = (
    "Atomic numbers",
    "Current cartesian coordinates",
    "Real atomic weights",
    "Charge",
    "Multiplicity",
    "Total Energy",
    "Cartesian Gradient",
    "Cartesian Force Constants",
)


def read(path: Path, options: Options) -> Iterator[Raw]:
    """The one structure of a file, with energy, gradient and Hessian where it has them."""
    lines = path.read_text(errors="replace").splitlines()
    entries = _entries(lines, path)
    for label in _WANTED[:2]:
        if label not in entries:
            raise UserError(f"{path} has no {label!r}: it is no formatted checkpoint file, make it with formchk")
    place = f"structure {path.stem} of {path}"
    numbers = numbers_of(entries["Atomic numbers"], place)
    masses = entries.get("Real atomic weights")
    hessian = entries.get("Cartesian Force Constants")
    yield Raw(
        place,
        numbers,
        entries["Current cartesian coordinates"],
        path.stem,
        ATOMIC,
        energy=entries.get("Total Energy"),
        gradient=entries.get("Cartesian Gradient"),
        charge=None if "Charge" not in entries else int(entries["Charge"]),
        multiplicity=None if "Multiplicity" not in entries else int(entries["Multiplicity"]),
        masses=None if masses is None else isotopes(numbers, masses),
        hessian=None if hessian is None else _full(hessian, len(numbers), path),
        level=" ".join(lines[1][10:].split()),
    )


def _entries(lines: list[str], path: Path) -> dict[str, Any]:
    """Values of the wanted labels (columns 1 to 40), numbers as they stand or arrays of the N that follow."""
    entries: dict[str, Any] = {}
    for i, line in enumerate(lines):
        label = line[:40].strip()
        if label not in _WANTED or line[:1].isspace():
            continue
        words = line[44:].split()
        try:
            if words[0] != "N=":
                entries[label] = float(words[0])
                continue
            count = int(words[1])
            values: list[float] = []
            for following in lines[i + 1 :]:
                if len(values) >= count:
                    break
                values += [float(word) for word in following.split()]
        except (ValueError, IndexError) as error:
            raise UserError(f"{path} has no numbers under {label!r}: it is truncated or damaged") from error
        if len(values) != count:
            raise UserError(f"{path} has {len(values)} of {count} numbers of {label!r}: it is truncated")
        entries[label] = np.array(values)
    return entries


def _full(triangle: np.ndarray, n: int, path: Path) -> np.ndarray:
    """(3n, 3n) of Gaussian's lower triangle, row by row."""
    size = 3 * n
    if len(triangle) != size * (size + 1) // 2:
        raise UserError(f"{path} has {len(triangle)} force constants, which do not fit to {n} atoms: it is damaged")
    matrix = np.zeros((size, size))
    matrix[np.tril_indices(size)] = triangle
    return matrix + np.tril(matrix, -1).T
