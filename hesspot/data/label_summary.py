"""How many structures of a dataset have each label, and how large it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from hesspot.data.dataset import Dataset
from hesspot.data.record import Record

LABELS = ("energy", "forces", "hessian", "products", "stress")
_UNITS = {"forces": "eV/Å", "hessian": "eV/Å²", "products": "eV/Å²", "stress": "eV/Å³"}


@dataclass
class LabelSummary:
    """Counts of labels in all and by part, and their ranges; of records that are added one by one."""

    structures: int = 0
    periodic: int = 0
    directions: int = 0
    by_part: dict[str, Counter[str]] = field(default_factory=dict)
    largest: dict[str, float] = field(default_factory=dict)
    per_atom: tuple[float, float] = (np.inf, -np.inf)

    @classmethod
    def of(cls, dataset: Dataset, progress: Callable[[], None] = lambda: None) -> LabelSummary:
        """Of a set, which may be larger than the memory; `progress` is called after each record."""
        summary = cls()
        for record in dataset:
            summary.add(record)
            progress()
        return summary

    def add(self, record: Record) -> None:
        self.structures += 1
        self.periodic += bool(record.pbc.any())
        counts = self.by_part.setdefault(record.part, Counter())
        for label in LABELS:
            values = getattr(record, label)
            if values is None:
                continue
            counts[label] += 1
            if label == "energy":
                per_atom = values / len(record)
                self.per_atom = min(self.per_atom[0], per_atom), max(self.per_atom[1], per_atom)
            else:
                self.largest[label] = max(self.largest.get(label, 0.0), float(np.abs(values).max()))
        self.directions += 0 if record.products is None else len(record.products)

    def lines(self) -> dict[str, str]:
        """A text for each label."""
        lines = {}
        for label in LABELS:
            known = sum(counts[label] for counts in self.by_part.values())
            lines[label] = f"{known} of {self.structures}"
            if known and label == "energy":
                lines[label] += ", {:.3f} to {:.3f} eV/atom".format(*self.per_atom)
            elif known:
                lines[label] += f", largest element {self.largest[label]:.3g} {_UNITS[label]}"
            if known and label == "products":
                lines[label] += f", {self.directions} directions"
        return lines
