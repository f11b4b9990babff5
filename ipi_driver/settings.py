"""What an evaluator is made from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import ase

Dtype = Literal["float64", "float32"]

#: What several MPI ranks share.
Split = Literal["auto", "beads", "atoms"]

#: What is sent besides energies, forces and virials.
ExtrasKind = Literal["none", "hvp", "hessian", "committee"]


@dataclass(frozen=True)
class EvaluatorSettings:
    """A model file and how it is used, in whichever process.

    symbols: of the atoms in i-PI's order; pbc: periodic directions; skin: Å that neighbour lists reach beyond
    the cutoff; threads: of one process, that share the atoms of a batch; start: the template, if atoms are to keep
    neighbours that they have there; charge, multiplicity: stated by it.
    """

    model: Path
    symbols: tuple[str, ...]
    pbc: tuple[bool, bool, bool]
    dtype: Dtype
    device: str
    skin: float
    extras: ExtrasKind = "none"
    threads: int = 1
    start: ase.Atoms | None = None
    charge: int | None = None
    multiplicity: int | None = None
