"""What every evaluator takes and gives, whichever process has the model. No torch here: the front process has none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from hesspot.errors import UserError


class EvaluationError(UserError):
    """A structure that has no answer: `index` in the batch says which."""

    def __init__(self, message: str, index: int):
        super().__init__(message)
        self.index = index


@dataclass(frozen=True, eq=False)
class Results:
    """energy (n_structures,) eV; forces (n_structures, n_atoms, 3) eV/Å; virial (n_structures, 3, 3) eV; float64.

    extras: a text in UTF-8 for each structure, or nothing.
    """

    energy: np.ndarray
    forces: np.ndarray
    virial: np.ndarray
    extras: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, numbers: np.ndarray, n_structures: int, extras: tuple[bytes, ...] = ()) -> Results:
        """From energies, forces and virials, one after another in one array."""
        n, last = n_structures, len(numbers) - 9 * n_structures
        return cls(numbers[:n], numbers[n:last].reshape(n, -1, 3), numbers[last:].reshape(n, 3, 3), extras)


@dataclass(frozen=True)
class Shortcut:
    """Who answers without Python: a worker at the other end of a `pipe`, or the C function of a task.

    task: address of the `Task` (edges.h) of the edges of a whole batch, which `owner` keeps alive.
    """

    pipe: int = -1
    task: int | None = None
    owner: object = None


class Evaluate(Protocol):
    """positions (n_structures, n_atoms, 3) Å, cells (n_structures, 3, 3) Å with lattice vectors as rows.

    EvaluationError for a structure without an answer.
    """

    def __call__(self, positions: np.ndarray, cells: np.ndarray) -> Results: ...


class QuickEvaluate(Evaluate, Protocol):
    """What can be evaluated without Python, see `ipi_driver.serving.fast_lane`."""

    def shortcut(self, n_structures: int) -> Shortcut | None:
        """For a batch like the last one; None if it needs Python."""
        ...

    def add_counts(self, calls: int, n_structures: int, seconds: float) -> None:
        """Note what was evaluated by the shortcut, with the CPU time in the model."""
        ...


def distinct(positions: np.ndarray, cells: np.ndarray) -> tuple[list[int], list[int]]:
    """Indices of the first of each set of equal structures, and for each structure its place among them."""
    different_sums = set(positions.sum((1, 2)).tolist())
    if len(different_sums) == len(positions):
        return list(range(len(positions))), list(range(len(positions)))
    seen: dict[bytes, int] = {}
    unique: list[int] = []
    place: list[int] = []
    for index, (atoms, cell) in enumerate(zip(positions, cells, strict=True)):
        key = atoms.tobytes() + cell.tobytes()
        if key not in seen:
            seen[key] = len(unique)
            unique.append(index)
        place.append(seen[key])
    return unique, place
