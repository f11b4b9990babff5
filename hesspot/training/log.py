"""What a run says of itself: log.csv, and events for TensorBoard."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any, Self

from hesspot.data import PART_NAMES
from hesspot.errors import UserError
from hesspot.extras import install_hint
from hesspot.files import write_atomically, writing
from hesspot.training.loss import LossTerms

#: In this order in log.csv.
QUANTITIES = ("energy", "forces", "hessian", "stress")
UNITS = {"energy": "eV/√n", "forces": "eV/Å", "hessian": "eV/Å²", "stress": "eV/√n"}
COLUMNS = [
    "epoch",
    "learning_rate",
    "loss",
    *(f"{quantity}_rmse" for quantity in QUANTITIES),
    "valid_loss",
    *(f"valid_{quantity}_rmse" for quantity in QUANTITIES),
    "seconds",
    "validated_on",  # valid, or train where no structure is marked valid
]


class RunLog:
    """log.csv in the folder of a run, a row for each validation, and on request events for TensorBoard beside it."""

    def __init__(self, folder: str | Path, tensorboard: bool, writes: bool):
        folder = Path(folder)
        self._path, self._writes = folder / "log.csv", writes
        self._board = _board(folder) if tensorboard and writes else None

    def __enter__(self) -> Self:
        if self._writes and not self._path.exists():
            self._append(dict(zip(COLUMNS, COLUMNS, strict=True)))
        return self

    def __exit__(self, *_: object) -> None:
        if self._board is not None:
            self._board.close()

    def write(self, row: dict[str, Any]) -> None:
        if not self._writes:
            return
        self._append(row)
        if self._board is not None:
            for key, value in row.items():
                if key not in ("epoch", "validated_on"):
                    self._board.add_scalar(key.replace("valid_", "valid/"), value, row["epoch"])
            self._board.flush()

    def _append(self, row: dict[str, Any]) -> None:
        with writing(self._path), self._path.open("a", newline="") as stream:
            csv.DictWriter(stream, COLUMNS).writerow(row)


def _board(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UserError(
            "tensorboard: true needs the package tensorboard, which is not installed; "
            f"{install_hint('tensorboard')}, or leave the key out"
        ) from error
    return SummaryWriter(str(folder / "tensorboard"))


def drop_rows_after(folder: str | Path, epoch: int) -> None:
    """Take the rows of later epochs, and unfinished ones, out of the log."""
    folder = Path(folder)
    log = folder / "log.csv"
    if not log.exists():
        return
    header, *rows = log.read_text().splitlines() or [",".join(COLUMNS)]
    kept = [row for row in rows if row.count(",") == len(COLUMNS) - 1 and int(row.split(",")[0]) <= epoch]
    write_atomically(log, ("\n".join([header, *kept]) + "\n").encode())


def root_mean_squares(terms: LossTerms, mode: str) -> dict[str, float]:
    """Root mean squares over structures: energy eV/√atom, forces eV/Å, Hessian eV/Å², virial eV/√atom."""
    values = {"energy_rmse": math.sqrt(terms.energy / max(terms.structures, 1))}
    if mode != "e":
        values["forces_rmse"] = math.sqrt(terms.forces / max(terms.structures, 1))
    if mode == "efh":
        values["hessian_rmse"] = math.sqrt(terms.hessian / max(terms.with_hessian, 1))
    if terms.with_stress:
        values["stress_rmse"] = math.sqrt(terms.stress / terms.with_stress)
    return values


def note(row: dict[str, Any]) -> str:
    """The validation errors of a row in one line, with the part that they are of."""
    parts = [
        f"{quantity[0].upper()} {row[f'valid_{quantity}_rmse']:.4f} {UNITS[quantity]}"
        for quantity in QUANTITIES
        if f"valid_{quantity}_rmse" in row
    ]
    return f"{PART_NAMES[row['validated_on']]}: " + "  ".join(parts)
