"""What an engine is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from ase import Atoms

Precision = Literal["double", "single"]


@dataclass(frozen=True, eq=False)
class Answer:
    """One structure as an engine gives it, in the structure's own axes.

    energy eV; forces (n, 3) eV/Å; virial (3, 3) eV, −∂E/∂strain, or None where the engine gives none; energies (n,) eV
    of the atoms and masses (n,) amu that the engine moves them with, alike.
    """

    energy: float
    forces: np.ndarray
    virial: np.ndarray | None = None
    energies: np.ndarray | None = None
    masses: np.ndarray | None = None

    @property
    def is_finite(self) -> bool:
        values = [self.forces, self.virial, self.energies]
        return bool(np.isfinite(self.energy)) and all(np.isfinite(v).all() for v in values if v is not None)


@dataclass(frozen=True)
class Refusal:
    """No answer; the engine's own words."""

    reason: str


class Engine(Protocol):
    """An engine on trial. precision: what it claims to compute in."""

    name: str
    precision: Precision

    def ask(self, structures: Sequence[Atoms]) -> list[Answer | Refusal]:
        """An answer or a refusal for each, asked in this order."""
        ...

    def run(self, atoms: Atoms, timestep: float, steps: int) -> np.ndarray | Refusal:
        """Total energies (steps + 1,) eV of a run at constant energy by velocity Verlet, from the momenta of `atoms`;
        timestep: fs."""
        ...

    def hessian(self, atoms: Atoms) -> np.ndarray | None:
        """(3n, 3n) eV/Å², atom by atom, of an engine that has it."""
        ...

    def others(self) -> Mapping[str, Engine]:
        """The same engine in other settings that must not matter: ranks, grids, lists."""
        ...

    def close(self) -> None:
        """End what was started."""
        ...
