"""Labelled graphs: what the loss is computed from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hesspot.data.dataset import Record
from hesspot.errors import UserError
from hesspot.models.contract import Batch, build_batch, join_batches


@dataclass(frozen=True)
class Sample:
    """One structure: its graph, energy (eV), forces (n, 3) eV/Å, Hessian (3n, 3n) eV/Å² where known.

    number: its place in the data, from which directions that are not drawn anew are drawn.
    """

    name: str
    number: int
    graph: Batch
    energy: float
    forces: Tensor | None
    hessian: Tensor | None


def make_samples(
    records: Sequence[Record], elements: Sequence[str], cutoff: float, mode: str, missing_hessian: str = "refuse"
) -> list[Sample]:
    """Graphs of records for a training mode: e, ef or efh.

    UserError for a record that lacks what the mode needs; `missing_hessian="skip"` keeps it without a Hessian.
    """
    samples = []
    for number, record in enumerate(records):
        if record.energy is None:
            raise UserError(f"structure {record.name} has no energy, which every mode needs; label it or leave it out")
        if mode != "e" and record.forces is None:
            raise UserError(f"structure {record.name} has no forces, which mode {mode} needs; label it or use mode e")
        if mode == "efh" and record.hessian is None and missing_hessian == "refuse":
            raise UserError(
                f"structure {record.name} has no Hessian, which mode efh needs; "
                "label it, or set hessian.missing: skip, or use mode ef"
            )
        samples.append(
            Sample(
                name=record.name,
                number=number,
                graph=build_batch([record.atoms_only()], elements, cutoff),
                energy=record.energy,
                forces=None if record.forces is None else torch.from_numpy(record.forces),
                hessian=None if record.hessian is None else torch.from_numpy(record.hessian),
            )
        )
    return samples


def join_samples(samples: Sequence[Sample]) -> Batch:
    """The graphs of several samples as one."""
    return join_batches([sample.graph for sample in samples], samples[0].graph.n_elements)
