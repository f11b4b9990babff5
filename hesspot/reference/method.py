"""What every maker of labels has in common, whatever the program behind it."""

from typing import Any, Protocol

import numpy as np
from ase import Atoms
from pydantic import BaseModel, ConfigDict, Field


class NotConverged(Exception):
    """A self-consistent calculation did not converge: nothing that could be stored came out."""


class Labels(BaseModel):
    """What one calculation gives: eV, eV/Å, eV/Å², eV/Å³; shapes (n, 3), (3n, 3n) and (3, 3)."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    energy: float
    forces: np.ndarray
    hessian: np.ndarray | None = None
    stress: np.ndarray | None = Field(default=None, description="positive under tension; periodic structures only")
    properties: dict[str, float | str] = {}
    density: np.ndarray | None = Field(default=None, description="density matrix, a guess for near geometries")


class LabelMethod(Protocol):
    """A level of theory of one program, with all settings that decide the numbers."""

    @property
    def level_of_theory(self) -> str:
        """As a dataset names it."""

    @property
    def product_step(self) -> float:
        """Å; root-mean-square displacement of a coordinate in the differences that give Hessian products."""

    def provenance(self) -> dict[str, Any]:
        """Program, version and settings; finished labels are taken again only where this is the same."""

    def check_input(self, atoms: Atoms, name: str, *, hessian: bool) -> None:
        """Raise a UserError for a structure or settings that cannot be computed."""

    def labels(self, atoms: Atoms, *, hessian: bool) -> Labels:
        """Labels on one thread; NotConverged where there are none."""


def impose_acoustic_sum_rule(hessian: np.ndarray) -> np.ndarray:
    """The symmetric (3n, 3n) Hessian with on-site blocks −Σ of the off-site ones.

    What the symmetry of these blocks leaves of the sum rule is taken out by projecting translations.
    """
    n = len(hessian) // 3
    blocks = hessian.reshape(n, 3, n, 3).copy()
    for a in range(n):
        blocks[a, :, a] = 0.0
        on_site = -blocks[a].sum(axis=1)
        blocks[a, :, a] = 0.5 * (on_site + on_site.T)
    relative = np.kron(np.eye(n) - 1.0 / n, np.eye(3))
    projected = relative @ blocks.reshape(3 * n, 3 * n) @ relative
    return 0.5 * (projected + projected.T)
