"""What a model in torch gives for the structures of a fingerprint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from hesspot.contract import Batch, Model, build_batch
from hesspot.derivatives import evaluate, hvp
from hesspot.export.metadata import FingerprintEntry, Reference
from hesspot.export.replay import Answer


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
