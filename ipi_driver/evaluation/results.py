"""What every evaluator takes and gives, whichever process has the model. No torch here: the front process has none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from hesspot.errors import UserError

if TYPE_CHECKING:
    from ipi_driver.native.fast_lane import Shortcut


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


class Evaluate(Protocol):
    """positions (n_structures, n_atoms, 3) Å, cells (n_structures, 3, 3) Å with lattice vectors as rows.

    EvaluationError for a structure without an answer.
    """

    def __call__(self, positions: np.ndarray, cells: np.ndarray) -> Results: ...


class QuickEvaluate(Evaluate, Protocol):
    """What can be evaluated without Python, see `ipi_driver.native.fast_lane`."""

    def shortcut(self, n_structures: int) -> Shortcut | None:
        """For a batch like the last one; None if it needs Python."""
        ...

    def took(self, calls: int, n_structures: int, seconds: float) -> None:
        """Note what was evaluated by the shortcut, with the CPU time in the model."""
        ...
