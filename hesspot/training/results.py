"""The final table of a run: errors of its best model on every part of the data and every kind of structure."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table

from hesspot.accuracy.cases import Case
from hesspot.accuracy.model_errors import errors_of, model_errors
from hesspot.accuracy.results import EngineResult
from hesspot.console import show
from hesspot.contract import Model, build_batch
from hesspot.data import KINDS, PART_NAMES, PARTS, Dataset, Record
from hesspot.derivatives import evaluate, hessian
from hesspot.files import write_atomically
from hesspot.kernel import KernelModel
from hesspot.models.house import House

#: Quantities of the table with their units; each has a mean absolute and a root-mean-square error.
UNITS = {"energy": "meV/atom", "forces": "eV/Å", "hessian": "eV/Å²", "stress": "eV/Å³", "frequencies": "cm⁻¹"}

#: Structures that are evaluated together.
TOGETHER = 32
#: The row of a whole part.
ALL = ("all", "")
COLUMNS = [
    "part",
    "kind",
    "tag",
    "structures",
    *(f"{quantity}_{error}" for quantity in UNITS for error in ("mae", "rmse")),
]


def final_results(
    model: House, dataset: Dataset, max_edges: int, advance: Callable[[int], None] = lambda count: None
) -> list[dict[str, Any]]:
    """A row for each kind and each tag of structures in each part, and one for the whole part; None without a label.

    Hessians are computed where they are labelled, frequencies at minima and saddle points; a committee counts as its
    mean. `advance` is called with the number of structures that have been evaluated. On a CPU the kernel evaluates,
    which gives what the model gives to rounding.
    """
    device = model.scale.device
    quick: Model = KernelModel.of(model) if device.type == "cpu" else model
    rows = []
    for part in PARTS:
        own = dataset.select(part=part)
        groups: dict[tuple[str, str], _Sums] = {}
        for records in batched(own, TOGETHER):
            answers = _answers(quick, records, max_edges, device)
            for group in {group: None for record in records for group in _groups_of(record)}:
                members = [i for i, record in enumerate(records) if group in _groups_of(record)]
                sums = groups.setdefault(group, _Sums())
                sums.add([records[i] for i in members], [answers[i] for i in members])
            advance(len(records))
        kinds = [(kind, "") for kind in KINDS if (kind, "") in groups]
        tags = sorted(group for group in groups if group[1])
        for kind, tag in [*([ALL] if len(kinds) != 1 else []), *kinds, *tags]:
            if (found := groups.get((kind, tag))) is not None:
                rows.append({"part": part, "kind": kind, "tag": tag, "structures": found.structures, **found.errors()})
    return rows


def _groups_of(record: Record) -> list[tuple[str, str]]:
    """Kind and tag of the rows that a record counts in."""
    return [ALL, (record.kind, ""), *([("all", record.tag)] if record.tag else [])]


def batched(records: Iterable[Record], size: int) -> Iterator[list[Record]]:
    """The records in lists of `size`, the last of which may be shorter."""
    iterator = iter(records)
    while group := list(islice(iterator, size)):
        yield group


def _answers(model: Model, records: Sequence[Record], max_edges: int, device: torch.device) -> list[EngineResult]:
    atoms = [record.atoms_only() for record in records]
    batch = build_batch(atoms, model.elements, model.cutoff, device=device)
    found = evaluate(model, batch, virial=True, max_edges=max_edges)
    forces = torch.split(found.forces.cpu(), [len(record) for record in records])
    curved = [i for i, record in enumerate(records) if record.hessian is not None]
    labelled = build_batch([atoms[i] for i in curved], model.elements, model.cutoff, device=device)
    matrices = dict(zip(curved, hessian(model, labelled, max_edges=max_edges), strict=True))
    assert found.virial is not None
    return [
        EngineResult(
            float(found.energy[i]),
            forces[i].numpy(),
            found.virial[i].cpu().numpy(),
            matrices[i].cpu().numpy() if i in matrices else None,
        )
        for i in range(len(records))
    ]


class _Sums:
    """Sums of the absolute errors and of their squares, and numbers of values, by quantity."""

    def __init__(self) -> None:
        self.structures = 0
        self._sums = {quantity: np.zeros(3) for quantity in UNITS}

    def add(self, records: Sequence[Record], answers: Sequence[EngineResult]) -> None:
        self.structures += len(records)
        cases = [Case(r.name, r.kind, r.atoms_only(), r.energy, r.forces, r.hessian) for r in records]
        stresses = [
            -answer.virial / abs(np.linalg.det(record.cell)) - record.stress
            for record, answer in zip(records, answers, strict=True)
            if answer.virial is not None and record.stress is not None
        ]
        of_model = next(iter(model_errors(cases, answers)), None)
        for quantity, sums in self._sums.items():
            attribute = "energy_per_atom" if quantity == "energy" else quantity
            found = errors_of(stresses) if quantity == "stress" else getattr(of_model, attribute, None)
            if found is not None:
                sums += found.count * np.array([found.mae, found.rmse**2, 1.0])

    def errors(self) -> dict[str, float | None]:
        """Mean absolute and root-mean-square error of each quantity, None where there is no label."""
        values: dict[str, float | None] = {}
        for quantity, (absolute, squared, count) in self._sums.items():
            factor = 1e3 if quantity == "energy" else 1.0
            values[f"{quantity}_mae"] = factor * absolute / count if count else None
            values[f"{quantity}_rmse"] = factor * (squared / count) ** 0.5 if count else None
        return values


def write_results(folder: str | Path, rows: Sequence[dict[str, Any]], best_epoch: int) -> None:
    """results.json and results.csv in the folder of the run."""
    folder = Path(folder)
    content = {"best_epoch": best_epoch, "units": UNITS, "rows": rows}
    write_atomically(folder / "results.json", json.dumps(content, indent=1, ensure_ascii=False).encode())
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(folder / "results.csv", text.getvalue().encode())


def print_results(rows: Sequence[dict[str, Any]]) -> None:
    """The rows as a table, RMSE (MAE) of what is labelled anywhere."""
    shown = [quantity for quantity in UNITS if any(row[f"{quantity}_rmse"] is not None for row in rows)]
    tagged = any(row["tag"] for row in rows)
    table = Table(
        "part", "kind", *(["tag"] if tagged else []), "structures", title="Errors of the best model, RMSE (MAE)"
    )
    for quantity in shown:
        table.add_column(f"{quantity}, {UNITS[quantity]}", justify="right")
    for row in rows:
        errors = [(row[f"{quantity}_rmse"], row[f"{quantity}_mae"]) for quantity in shown]
        cells = ["" if rmse is None else f"{rmse:.4g} ({mae:.4g})" for rmse, mae in errors]
        table.add_row(
            PART_NAMES[row["part"]], row["kind"], *([row["tag"]] if tagged else []), str(row["structures"]), *cells
        )
    show(table)
