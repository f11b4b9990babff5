"""One round of a distillation in its folder: structures, labels, a committee, its errors, its runs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from hesspot.calculators import HesspotCalculator
from hesspot.data import Dataset
from hesspot.distill.explore import Outcome
from hesspot.distill.properties import Differences, Properties, differences, properties_of
from hesspot.distill.teacher import refused_of
from hesspot.files import write_atomically
from hesspot.training.checkpoint import load_checkpoint, model_of
from hesspot.training.results import final_results


class Errors(BaseModel):
    """Of a round's model on the fixed test set, root mean square, and against the teacher's properties.

    energy: meV per atom; forces: eV/Å; stress: eV/Å³, None where there is none.
    """

    model_config = ConfigDict(extra="forbid")

    energy: float
    forces: float
    stress: float | None = None
    properties: Differences = Differences()


class Round:
    """The files of round `number` of a distillation."""

    def __init__(self, folder: Path, number: int) -> None:
        self.number, self.folder = number, folder / f"round-{number:02d}"
        self.structures, self.labels = self.folder / "structures.xyz", self.folder / "labels.h5"
        self.training, self.model = self.folder / "train", self.folder / "model.pt"
        self._errors, self._seconds = self.folder / "errors.json", self.folder / "seconds.json"
        self.properties_file = self.folder / "properties.json"

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """A stage whose seconds are added to what it took before."""
        began = time.monotonic()
        try:
            yield
        finally:
            spent = self.seconds
            spent[stage] = round(spent.get(stage, 0.0) + time.monotonic() - began, 2)
            write_atomically(self._seconds, json.dumps(spent, indent=1).encode())

    @property
    def seconds(self) -> dict[str, float]:
        """What its stages took, those that were stopped by an error among them."""
        return json.loads(self._seconds.read_text()) if self._seconds.exists() else {}

    @property
    def refused(self) -> list[tuple[str, str]]:
        """Name and reason of each structure that the teacher refused."""
        return refused_of(self.labels)

    @property
    def n_labelled(self) -> int:
        return len(Dataset.read(self.labels)) if self.labels.exists() else 0

    @property
    def outcomes(self) -> list[Outcome]:
        """Of its finished runs."""
        return [Outcome.model_validate_json(path.read_text()) for path in sorted(self.folder.glob("run-*/run.json"))]

    @property
    def progress(self) -> float:
        """Part of the asked lengths that its runs have done, on average."""
        return float(np.mean([outcome.steps / outcome.asked for outcome in self.outcomes] or [0.0]))

    @property
    def errors(self) -> Errors | None:
        return Errors.model_validate_json(self._errors.read_text()) if self._errors.exists() else None

    @property
    def properties(self) -> Properties | None:
        path = self.properties_file
        return Properties.model_validate_json(path.read_text()) if path.exists() else None

    def judge(self, test: Dataset, reference: Any, teacher: Properties | None, section: Any, max_edges: int) -> Errors:
        """Errors of the model on the test set, and of its properties at the `reference` structure; kept."""
        if (known := self.errors) is not None:
            return known
        model = model_of(load_checkpoint(self.training / "best.pt"))
        row = next(row for row in final_results(model, test, max_edges) if not row["tag"])
        found = Errors(energy=row["energy_rmse"], forces=row["forces_rmse"], stress=row["stress_rmse"])
        if teacher is not None:
            own = properties_of(HesspotCalculator(self.model), reference, section)
            write_atomically(self.properties_file, own.model_dump_json().encode())
            found.properties = differences(own, teacher)
        write_atomically(self._errors, found.model_dump_json(indent=1).encode())
        return found


def best_of(rounds: Sequence[Round]) -> Round:
    """The round whose runs came furthest; of equals, the one with the least force error on the test set."""

    def merit(each: Round) -> tuple[float, float]:
        return each.progress, -(each.errors.forces if each.errors else np.inf)

    return max((each for each in rounds if each.model.exists()), key=merit)
