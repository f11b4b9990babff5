"""Errors of one trained model, structure by structure, against the reference labels of the test part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hesspot.accuracy.in_torch import one_by_one
from hesspot.accuracy.results import EngineResult, modes_of_model
from hesspot.analysis.normal_modes import mode_overlap, normal_modes
from hesspot.contract import Model
from hesspot.data import Dataset, Record
from hesspot.errors import UserError
from hesspot.study.csv_tables import read_rows, write_rows

#: The part of the comparison that each kind of structure belongs to.
PART_OF_KIND = {"minimum": "Test", "saddle": "Test", "irc": "IRC", "nms": "NMS"}
#: Added to the part where the training or validation part has structures of the same system.
SEEN = " (seen)"
#: All parts, in the order of the tables.
PARTS = ("Test", "IRC", "NMS", f"Test{SEEN}", f"IRC{SEEN}", f"NMS{SEEN}")
STATIONARY = ("minimum", "saddle")


@dataclass(frozen=True)
class StructureErrors:
    """Errors of one structure, model − reference; None where there is no label or the quantity has no meaning.

    part: one of `PARTS`;
    energy_error eV; force_rmse, force_mae over 3n components, eV/Å; hessian_rmse, hessian_mae over (3n)² elements,
    eV/Å²; n_imaginary and n_imaginary_reference at stationary points; overlap |cos v₁| of the lowest modes at saddles.
    """

    name: str
    system: str
    kind: str
    part: str
    n_atoms: int
    energy_error: float | None
    force_rmse: float | None
    force_mae: float | None
    hessian_rmse: float | None
    hessian_mae: float | None
    n_imaginary: int | None
    n_imaginary_reference: int | None
    overlap: float | None


@dataclass(frozen=True)
class Frequency:
    """One frequency at a stationary point, cm⁻¹, in ascending order; imaginary ones negative."""

    name: str
    kind: str
    mode: int
    reference: float
    model: float


@dataclass(frozen=True)
class Barrier:
    """Energy of a saddle point above the minima at one end of its reaction, eV, at the reference geometries."""

    reaction: str
    end: str
    reference: float
    model: float


@dataclass(frozen=True)
class Evaluation:
    """All errors of one model."""

    structures: list[StructureErrors]
    frequencies: list[Frequency]
    barriers: list[Barrier]


def tested_records(dataset: Dataset, place: str) -> list[Record]:
    """The structures of the test part that belong to Test, IRC or NMS; UserError without any."""
    records = [record for record in dataset.select(part="test") if record.kind in PART_OF_KIND]
    if not records:
        raise UserError(f"{place} has no minimum, saddle, irc or nms structure in its part test; mark some as test")
    return records


@dataclass(frozen=True)
class Reaction:
    """A saddle point of the test part, and the minima at one end of its path."""

    name: str
    end: str
    saddle: Record
    minima: tuple[Record, ...]


def reactions(dataset: Dataset) -> list[Reaction]:
    """Barriers that can be compared: those of the dataset's table `reactions` whose saddle point is in the part test.

    Two for each reaction, one where both its ends are the same. Without a table there are none. UserError for a table
    of another shape or with names that the dataset lacks.
    """
    records = {record.name: record for record in dataset}
    found = []
    for name, entry in _table(dataset).items():
        if records[entry["saddle"]].part != "test":
            continue
        ends = sorted({tuple(sorted(end)) for end in entry["ends"]})
        found += [
            Reaction(name, " + ".join(end), records[entry["saddle"]], tuple(records[one] for one in end))
            for end in ends
        ]
    return [r for r in found if all(record.energy is not None for record in (r.saddle, *r.minima))]


def _table(dataset: Dataset) -> dict[str, Any]:
    table = dataset.provenance.get("reactions", {})
    names = {record.name for record in dataset}
    try:
        for reaction, entry in table.items():
            for one in [entry["saddle"], *(one for end in entry["ends"] for one in end)]:
                if one not in names:
                    raise UserError(
                        f"the reaction {reaction} names the structure {one}, which the dataset lacks; add it"
                    )
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(
            "the dataset's table of reactions must read {name: {saddle: structure, ends: [[structures], [structures]]}}"
            f"; correct it ({error!r})"
        ) from error
    return dict(table)


def evaluate(model: Model, dataset: Dataset, place: str = "the dataset") -> Evaluation:
    """Errors of a model in float64, with its full analytic Hessian, on the part test of a dataset."""
    records = tested_records(dataset, place)
    answers = dict(zip([r.name for r in records], one_by_one(model, [r.atoms_only() for r in records]), strict=True))
    compared = reactions(dataset)
    ends = {r.name: r for reaction in compared for r in (reaction.saddle, *reaction.minima) if r.name not in answers}
    answers.update(zip(ends, one_by_one(model, [r.atoms_only() for r in ends.values()]), strict=True))
    seen = {record.system for record in dataset if record.part != "test"} - {""}
    structures, frequencies = [], []
    for record in records:
        errors, own = _compare(record, answers[record.name], record.system in seen)
        structures.append(errors)
        frequencies += own
    barriers = [
        Barrier(
            reaction.name,
            reaction.end,
            _above(reaction, {r.name: r.energy for r in (reaction.saddle, *reaction.minima) if r.energy is not None}),
            _above(reaction, {name: answer.energy for name, answer in answers.items()}),
        )
        for reaction in compared
    ]
    return Evaluation(structures, frequencies, barriers)


def _above(reaction: Reaction, energies: dict[str, float]) -> float:
    return energies[reaction.saddle.name] - sum(energies[minimum.name] for minimum in reaction.minima)


def _compare(record: Record, answer: EngineResult, seen: bool) -> tuple[StructureErrors, list[Frequency]]:
    assert answer.hessian is not None
    force_rmse, force_mae = _rmse_mae(answer.forces, record.forces)
    hessian_rmse, hessian_mae = _rmse_mae(answer.hessian, record.hessian)
    frequencies: list[Frequency] = []
    found = expected = overlap = None
    if record.hessian is not None and record.kind in STATIONARY:
        modes = modes_of_model(answer, record.atoms_only(), record.name)
        reference = normal_modes(record.atoms_only(), record.hessian)
        found, expected = modes.n_imaginary, reference.n_imaginary
        if record.kind == "saddle":
            overlap = mode_overlap(modes, reference)
        frequencies = [
            Frequency(record.name, record.kind, mode, float(right), float(left))
            for mode, (left, right) in enumerate(zip(modes.frequencies, reference.frequencies, strict=True))
        ]
    errors = StructureErrors(
        name=record.name,
        system=record.system,
        kind=record.kind,
        part=PART_OF_KIND[record.kind] + (SEEN if seen else ""),
        n_atoms=len(record),
        energy_error=None if record.energy is None else answer.energy - record.energy,
        force_rmse=force_rmse,
        force_mae=force_mae,
        hessian_rmse=hessian_rmse,
        hessian_mae=hessian_mae,
        n_imaginary=found,
        n_imaginary_reference=expected,
        overlap=overlap,
    )
    return errors, frequencies


def _rmse_mae(found: np.ndarray, expected: np.ndarray | None) -> tuple[float, float] | tuple[None, None]:
    if expected is None:
        return None, None
    difference = found - expected
    return float(np.sqrt((difference**2).mean())), float(np.abs(difference).mean())


#: Files of an evaluation in the folder of a run. The last is written last: where it is, the run is finished.
FILES = {"frequencies.csv": Frequency, "barriers.csv": Barrier, "structures.csv": StructureErrors}


def write_evaluation(folder: str | Path, evaluation: Evaluation) -> None:
    """Write the three tables into a folder."""
    folder = Path(folder)
    for name, kind in FILES.items():
        rows: Sequence[Any] = getattr(evaluation, name.removesuffix(".csv"))
        write_rows(folder / name, kind, rows)


def is_evaluated(folder: str | Path) -> bool:
    """Whether all tables are there."""
    folder = Path(folder)
    return all((folder / name).is_file() for name in FILES)


def read_evaluation(folder: str | Path) -> Evaluation:
    """What `write_evaluation` wrote."""
    folder = Path(folder)
    return Evaluation(**{name.removesuffix(".csv"): read_rows(folder / name, kind) for name, kind in FILES.items()})
