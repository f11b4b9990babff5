"""The structures that are asked of every engine, with the reference's values where they are known."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase
import numpy as np

from hesspot.data.dataset import Dataset
from hesspot.data.record import PARTS
from hesspot.data.shipped import find_dataset
from hesspot.errors import UserError
from hesspot.export import ModelMetadata


@dataclass(frozen=True, eq=False)
class Case:
    """One structure and what the reference gives for it; None where that is not known.

    kind as in a dataset (minimum, saddle, irc, nms, atom, other); energy eV; forces (n, 3) eV/Å; hessian (3n, 3n)
    eV/Å²; frequencies (m,) cm⁻¹, imaginary ones negative, for references that give no Hessian; part of the dataset
    (train, valid, test; empty if not known); tag of the user's own, or empty.
    """

    name: str
    kind: str
    atoms: ase.Atoms
    energy: float | None = None
    forces: np.ndarray | None = None
    hessian: np.ndarray | None = None
    frequencies: np.ndarray | None = None
    part: str = ""
    tag: str = ""

    @property
    def has_reference(self) -> bool:
        return any(value is not None for value in (self.energy, self.forces, self.hessian, self.frequencies))


def from_fingerprint(metadata: ModelMetadata) -> list[Case]:
    """The structures stored in the model file."""
    cases = []
    for entry in metadata.fingerprint:
        reference = entry.reference
        known: dict[str, Any] = {}
        if reference is not None:
            arrays = {name: getattr(reference, name) for name in ("forces", "hessian", "frequencies")}
            known = {name: np.array(value) for name, value in arrays.items() if value is not None}
            known["part"] = reference.part
        cases.append(
            Case(entry.name, entry.kind, entry.atoms(), energy=reference.energy if reference else None, **known)
        )
    return cases


def from_dataset(path: str | Path, part: str | None = "test") -> tuple[list[Case], str]:
    """The structures of one part (train, valid, test; None or all) of a dataset, and its level of theory.

    path: a dataset file, or shipped:NAME.

    UserError if there are none.
    """
    if part == "all":
        part = None
    if part is not None and part not in PARTS:
        raise UserError(f"part {part!r} of {path} is not known; use one of {', '.join(PARTS)}, or all")
    dataset = Dataset.open(find_dataset(str(path)))
    records = dataset.select(part=part) if part else dataset
    if not len(records):
        raise UserError(f"{path} has no structures in its part {part!r}; choose another with --part, or all")
    cases = [
        Case(r.name, r.kind, r.atoms_only(), r.energy, r.forces, r.hessian, part=r.part, tag=r.tag) for r in records
    ]
    return cases, dataset.level_of_theory


def spread(cases: Sequence[Case], count: int) -> list[Case]:
    """At most `count` of the cases, evenly over their order: the same ones at every call."""
    if len(cases) <= count:
        return list(cases)
    return [cases[i] for i in np.linspace(0, len(cases) - 1, count).round().astype(int)]
