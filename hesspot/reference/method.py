"""What every maker of labels has in common, whatever the program behind it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from ase import Atoms
from pydantic import BaseModel, ConfigDict, Field

from hesspot.data import Record
from hesspot.reference.force_lines import central_difference


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
    def counts_electrons(self) -> bool:
        """Whether charge and multiplicity must be known: an odd number of electrons needs a statement then."""

    def provenance(self) -> dict[str, Any]:
        """Program, version and settings; finished labels are taken again only where this is the same."""

    def check_input(self, atoms: Atoms, name: str, *, hessian: bool) -> None:
        """Raise a UserError for a structure or settings that cannot be computed."""

    def prepare(self, records: Sequence[Record], *, curvature: bool, folder: Path, say: Callable[[str], None]) -> Self:
        """The method with all that it must know before the first structure, kept in `folder`; UserError for what stops
        it."""

    def labels(self, atoms: Atoms, *, hessian: bool) -> Labels:
        """Labels on one thread; NotConverged where there are none."""

    def products(
        self, atoms: Atoms, labels: Labels, directions: np.ndarray
    ) -> tuple[np.ndarray, dict[str, float | str]]:
        """H·v (k, n, 3) in eV/Å² of directions (k, n, 3), and properties; `labels` are those of `atoms`."""


class QuantumChemistry:
    """What programs of quantum chemistry have in common, whose noise is known."""

    counts_electrons: ClassVar[bool] = True
    product_step: ClassVar[float]

    def prepare(self, records: Sequence[Record], *, curvature: bool, folder: Path, say: Callable[[str], None]) -> Self:
        return self

    def labels(self, atoms: Atoms, *, hessian: bool) -> Labels:
        raise NotImplementedError

    def products(
        self, atoms: Atoms, labels: Labels, directions: np.ndarray
    ) -> tuple[np.ndarray, dict[str, float | str]]:
        """Central differences of forces, two calculations each."""

        def forces_at(positions: np.ndarray) -> np.ndarray:
            moved = atoms.copy()
            moved.positions = positions
            return self.labels(moved, hessian=False).forces

        products = [central_difference(forces_at, atoms.positions, v, self.product_step) for v in directions]
        return np.array(products), {}


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
