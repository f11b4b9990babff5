"""A frame of a trajectory, and what all formats of text have in common."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO

import numpy as np
from ase.data import atomic_masses

from hesspot.errors import UserError
from hesspot.structures import NAME_TYPES

#: Rows that the digits of a column are counted in.
SAMPLED = 1000


class Incomplete(Exception):
    """The file ends within a frame: it is being written, or was cut off. The text says how far it goes."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One step of a run, atoms in ascending order of their IDs.

    ids (n,) as the trajectory counts atoms; numbers (n,); positions (n, 3) Å; cell (3, 3) Å, pbc (3,); masses (n,) amu;
    forces (n, 3) eV/Å and velocities (n, 3) Å/fs, None where the file has none. digit: what the last printed digit of
    the positions stands for, Å; force_digit: of the forces, eV/Å. states_units: whether the
    file, or the user, says which units it is in; energy_unit: eV, that of the run's own energies;
    energy: eV, the run's own, where the trajectory has it.
    """

    step: int
    ids: np.ndarray
    numbers: np.ndarray
    positions: np.ndarray
    cell: np.ndarray
    pbc: np.ndarray
    masses: np.ndarray
    forces: np.ndarray | None = None
    velocities: np.ndarray | None = None
    digit: float = 0.0
    force_digit: float = 0.0
    states_units: bool = False
    energy_unit: float = 1.0
    energy: float | None = None

    def __len__(self) -> int:
        return len(self.ids)


def header_line(stream: BinaryIO) -> bytes:
    """The next line; Incomplete where its end is not there yet."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise Incomplete("in its head")
    return line


def table_of(stream: BinaryIO, n_rows: int, n_columns: int, place: str) -> list[bytes]:
    """The words of the next rows, one row after the other.

    Incomplete where the file ends before the last row does; UserError, which begins with `place`, for a row of another
    number of words: a frame that was cut off in the middle of the file.
    """
    rows = list(islice(stream, n_rows))
    if len(rows) < n_rows or not rows[-1].endswith(b"\n"):
        raise Incomplete(f"after {max(len(rows) - 1, 0)} of {n_rows} atoms")
    words = b"".join(rows).split()
    if len(words) != n_rows * n_columns or any(row.startswith(b"ITEM:") for row in rows):
        bad = next((k for k, row in enumerate(rows) if len(row.split()) != n_columns), 0)
        raise UserError(f"{place} is cut off after {bad} of {n_rows} atoms, in the middle of the file")
    return words


def numbers_in(words: Sequence[bytes], place: str) -> np.ndarray:
    """The words as float64; UserError, which begins with `place`, for what is no number."""
    try:
        return np.array(list(map(float, words)))
    except ValueError as error:
        raise UserError(f"{place} has a word that is no number ({error}); check the file there") from error


def last_digit(columns: Sequence[Sequence[bytes]]) -> float:
    """What the last digit of printed numbers stands for: that of the largest one, to its number of significant digits.

    The digits are the most that any of the first rows has, so that zeros which a format leaves away do not count.
    """
    words = [word for column in columns for word in column[:SAMPLED]]
    digits = max(len(re.sub(rb"[eE].*|^[-+]?0*\.?0*|\.", b"", word)) for word in words)
    largest = max(abs(float(word)) for word in words)
    return 10.0 ** (np.floor(np.log10(largest)) + 1 - digits) if 0 < largest < np.inf else 0.0


def elements_of_types(types: np.ndarray, numbers: np.ndarray | None, place: str) -> np.ndarray:
    """Atomic numbers (n,) of LAMMPS's atom types (n,), of which `numbers` are those of types 1, 2, …; UserError for
    types without a name."""
    if numbers is None:
        raise UserError(f"{place} has numbers of LAMMPS's atom types and no column `element`; {NAME_TYPES}")
    if not 1 <= types.min(initial=1) <= types.max(initial=1) <= len(numbers):
        raise UserError(
            f"{place} has atom types {types.min()} to {types.max()}, and --elements names {len(numbers)}; name the "
            "element of each type"
        )
    return np.asarray(numbers[types - 1])


def usual_masses(numbers: np.ndarray) -> np.ndarray:
    """amu, (n,)."""
    return np.asarray(atomic_masses[numbers])
