"""The fingerprint: what a trained model gave for some structures, and its replay by whatever shall be that model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hesspot.contract import Batch, Model, build_batch
from hesspot.derivatives import evaluate, hvp
from hesspot.errors import UserError
from hesspot.export.metadata import FingerprintEntry, Reference

#: Unit, and what the same float64 operations in another order may give: rounding only. H·v for directions of length 1
#: per atom; a virial is a force on an arm of 10 Å.
TOLERANCES = {
    "energy": ("eV/atom", 1e-9),
    "forces": ("eV/Å", 1e-8),
    "virial": ("eV", 1e-7),
    "H·v": ("eV/Å²", 1e-8),
}


@dataclass(frozen=True)
class Answer:
    """What is compared: energy eV, forces (n, 3) eV/Å, virial (3, 3) eV, H·v (n, 3) eV/Å²."""

    energy: float
    forces: np.ndarray
    virial: np.ndarray
    product: np.ndarray


def answer(model: Model, batch: Batch, directions: np.ndarray) -> Answer:
    """That of a model in float64 for a batch of one structure and directions (n, 3)."""
    result = evaluate(model, batch, virial=True)
    assert result.virial is not None
    product = hvp(model, batch, torch.from_numpy(directions))
    return Answer(float(result.energy[0]), result.forces.numpy(), result.virial[0].numpy(), product.numpy())


def answers_of(model: Model) -> Callable[[FingerprintEntry], Answer]:
    """A model in float64 as what `replay` asks."""

    def ask(entry: FingerprintEntry) -> Answer:
        batch = build_batch([entry.atoms()], model.elements, model.cutoff)
        return answer(model, batch, np.array(entry.directions).reshape(-1, 3))

    return ask


def fingerprint_entry(
    model: Model,
    name: str,
    atoms: Any,
    kind: str = "other",
    reference: Reference | None = None,
    seed: int = 0,
) -> FingerprintEntry:
    """What `model` (float64) gives for one structure, with a fixed random direction for H·v."""
    directions = np.random.default_rng(seed).standard_normal((len(atoms), 3))
    found = answer(model, build_batch([atoms], model.elements, model.cutoff), directions)
    return FingerprintEntry(
        name=name,
        kind=kind,
        numbers=atoms.numbers.tolist(),
        positions=atoms.positions.tolist(),
        cell=atoms.cell.array.tolist(),
        pbc=atoms.pbc.tolist(),
        masses=atoms.get_masses().tolist() if atoms.has("masses") else None,
        energy=found.energy,
        forces=found.forces.tolist(),
        virial=found.virial.tolist(),
        directions=directions.tolist(),
        hvp=found.product.tolist(),
        reference=reference,
    )


def packed_edges(elements: Sequence[str], cutoff: float, fingerprint: Sequence[FingerprintEntry]) -> bytes:
    """The edges of all structures, for engines that have no search for neighbours (docs/export.md)."""
    parts: list[np.ndarray] = []
    for entry in fingerprint:
        batch = build_batch([entry.atoms()], elements, cutoff)
        parts.append(np.array([batch.n_atoms, batch.n_edges], dtype="<i8"))
        parts += [part.numpy().astype("<i8") for part in (batch.species, batch.centers, batch.neighbors)]
        parts.append(batch.vectors.numpy().astype("<f8"))
    return b"".join(part.tobytes() for part in parts)


#: Of each quantity: the structures' names and their deviations.
Deviations = dict[str, list[tuple[str, float]]]


def replay(fingerprint: Sequence[FingerprintEntry], ask: Callable[[FingerprintEntry], Answer]) -> Deviations:
    """How far the answers are from the stored ones, in the units of `TOLERANCES`; NaN where an answer has one."""
    found: Deviations = {quantity: [] for quantity in TOLERANCES}
    for entry in fingerprint:
        given = ask(entry)
        pairs = {
            "energy": (given.energy / max(len(entry.numbers), 1), entry.energy / max(len(entry.numbers), 1)),
            "forces": (given.forces, entry.forces),
            "virial": (given.virial, entry.virial),
            "H·v": (given.product, entry.hvp),
        }
        for quantity, (value, stored) in pairs.items():
            stored_array = np.asarray(stored, dtype=float)
            difference = np.asarray(value, dtype=float).reshape(stored_array.shape) - stored_array
            found[quantity].append((entry.name, float(np.abs(difference).max(initial=0.0))))
    return found


def check_fingerprint(
    fingerprint: Sequence[FingerprintEntry], ask: Callable[[FingerprintEntry], Answer], what: str, remedy: str
) -> Deviations:
    """The deviations of `what`; UserError, which ends with `remedy`, if it does not give the fingerprint in float64."""
    found = replay(fingerprint, ask)
    for quantity, deviations in found.items():
        unit, tolerance = TOLERANCES[quantity]
        for name, deviation in deviations:
            if not deviation <= tolerance:
                raise UserError(
                    f"{quantity} ({unit}) of {name} from {what} differs from the trained model's by {deviation:.3g}, "
                    f"more than {tolerance:g}; {remedy}"
                )
    return found
