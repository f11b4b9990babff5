"""What is known of a distillation at any time: its settings, what it is judged by, its rounds, the teacher's calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import ase

from hesspot.data import Dataset
from hesspot.distill.config import DistillKeys
from hesspot.distill.properties import Properties
from hesspot.distill.rounds import Round
from hesspot.distill.teacher import method_of, sampling_calls
from hesspot.reference.ase_labels import AseMethod


@dataclass(frozen=True)
class Ending:
    """How a distillation ended: whether a run held, a sentence that says so or what is missing, and the best model."""

    held: bool
    sentence: str
    model: Path


@dataclass(frozen=True)
class TestSet:
    """What rounds are judged by: labels in a file, the teacher's properties at a structure, and its calls for all."""

    file: Path
    labels: Dataset
    reference: ase.Atoms | None
    teacher: Properties | None
    calls: int


class Course:
    """A distillation in a folder, and the rounds that it has reached."""

    def __init__(self, keys: DistillKeys, folder: Path, starts: Sequence[ase.Atoms], test: TestSet) -> None:
        self.keys, self.folder, self.starts, self.test = keys, folder, starts, test
        self.rounds: list[Round] = []
        self.method: AseMethod = method_of(keys.teacher)

    @property
    def calls(self) -> int:
        """Force calls of the teacher for sampling, for its noise, and for all labels, refused ones among them."""
        return self.calls_until(None)

    def calls_until(self, last: Round | None) -> int:
        """The same until and with round `last`; None: all."""
        rounds = [each for each in self.rounds if last is None or each.number <= last.number]
        structures = sum(each.n_labelled + len(each.refused) for each in rounds)
        known = self.method.prepared
        measured = 0 if known is None else known.calculations
        return sampling_calls(self.keys.sample, self.starts) + measured + structures * self.keys.cost
