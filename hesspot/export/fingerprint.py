"""The fingerprint of a trained model: a few structures that every engine can replay."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hesspot.analysis.normal_modes import normal_modes
from hesspot.contract import Model
from hesspot.data import Record
from hesspot.data.stored_records import Entry
from hesspot.export.answers import fingerprint_entry
from hesspot.export.metadata import FingerprintEntry, Reference

#: Å of empty space around the periodic entry: less than the cutoff, so that atoms see images.
PERIODIC_MARGIN = 3.5


def reference_of(record: Record) -> Reference:
    """The labels of a record; frequencies (cm⁻¹) where it is a stationary point with a Hessian."""
    frequencies = None
    if record.hessian is not None and record.kind in ("minimum", "saddle"):
        frequencies = normal_modes(record.atoms_only(), record.hessian).frequencies.tolist()
    return Reference(
        energy=record.energy,
        forces=None if record.forces is None else record.forces.tolist(),
        hessian=None if record.hessian is None else record.hessian.tolist(),
        frequencies=frequencies,
        part=record.part,
    )


def choose_structures(heads: Sequence[Record | Entry], count: int) -> list[int]:
    """Numbers of up to `count` structures: stationary points first, one per system, then others spread evenly."""
    stationary: list[int] = []
    seen: set[str] = set()
    for i, head in enumerate(heads):
        if head.kind in ("minimum", "saddle") and head.system not in seen and len(head) > 1:
            stationary.append(i)
            seen.add(head.system)
    chosen = [stationary[i] for i in _spread(len(stationary), max(count - count // 4, 1))]
    rest = [i for i, head in enumerate(heads) if head.kind not in ("minimum", "saddle")]
    return chosen + [rest[i] for i in _spread(len(rest), count - len(chosen))]


def _spread(available: int, wanted: int) -> list[int]:
    if available <= wanted:
        return list(range(available))
    return sorted({int(i) for i in np.linspace(0, available - 1, wanted)})


def make_fingerprint(model: Model, records: Sequence[Record], count: int = 8) -> list[FingerprintEntry]:
    """The model's own answers for chosen records, and for the largest of them in a small periodic box."""
    chosen = [records[i] for i in choose_structures(records, count)]
    entries = [
        fingerprint_entry(model, record.name, record.atoms_only(), record.kind, reference_of(record), seed=number)
        for number, record in enumerate(chosen)
    ]
    largest = max(chosen, key=len).atoms_only()
    largest.set_cell(np.ptp(largest.positions, axis=0) + PERIODIC_MARGIN)
    largest.pbc = True
    entries.append(fingerprint_entry(model, f"{largest.symbols}_periodic", largest, seed=len(entries)))
    return entries
