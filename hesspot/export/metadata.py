"""What `hesspot.json` inside an exported model says."""

from __future__ import annotations

from typing import Any, Literal

import ase
import numpy as np
from pydantic import Field

from hesspot.settings import Strict

#: Version of the file format that this hesspot writes, and the newest that it reads. Files of version 1 have no packed
#: weights.
FORMAT_VERSION = 2

#: Name of the metadata file in the archive.
METADATA_NAME = "hesspot.json"


class Architecture(Strict):
    """How to build the eager model: one of `hesspot.models.architectures`, or `torchscript` for any other."""

    name: str
    config: dict[str, Any] = Field(default_factory=dict)


class Reference(Strict):
    """The quantum-chemical reference's own values for a fingerprint structure."""

    energy: float | None = None
    forces: list[list[float]] | None = None
    hessian: list[list[float]] | None = None
    frequencies: list[float] | None = Field(None, description="cm⁻¹, imaginary ones negative")
    part: str = Field("", description="of the data: train, valid, test; empty if not known")


class FingerprintEntry(Strict):
    """One structure with what the trained model gives in float64: eV, eV/Å, eV, eV/Å²."""

    name: str
    kind: str = "other"
    numbers: list[int]
    positions: list[list[float]]
    cell: list[list[float]]
    pbc: list[bool]
    masses: list[float] | None = None
    energy: float
    forces: list[list[float]]
    virial: list[list[float]]
    directions: list[list[float]]
    hvp: list[list[float]]
    reference: Reference | None = None

    def atoms(self) -> ase.Atoms:
        """The structure as ASE atoms."""
        return ase.Atoms(
            numbers=self.numbers,
            positions=np.array(self.positions).reshape(-1, 3),
            cell=np.array(self.cell),
            pbc=self.pbc,
            masses=self.masses,
        )


class Units(Strict):
    """The units of a file; there is only this choice."""

    energy: Literal["eV"] = "eV"
    length: Literal["angstrom"] = "angstrom"
    mass: Literal["amu"] = "amu"
    time: Literal["fs"] = "fs"


class ModelMetadata(Strict):
    """The content of `hesspot.json`; docs/export.md says what each entry means."""

    format: Literal["hesspot-model"] = "hesspot-model"
    format_version: int = FORMAT_VERSION
    hesspot_version: str
    torch_version: str
    elements: list[str]
    cutoff: float
    units: Units = Field(default_factory=Units)
    dtype: Literal["float64"] = "float64"
    architecture: Architecture
    level_of_theory: str = "unknown"
    electrons: list[tuple[int, int]] | None = None
    training: dict[str, Any] = Field(default_factory=dict)
    weights_sha256: str
    script_sha256: str | None = None
    edges_sha256: str | None = None
    surroundings_sha256: str | None = None
    shape: dict[str, Any] | None = None
    no_kernel: str | None = None
    jump_at_cutoff: bool = False
    fingerprint: list[FingerprintEntry]
