"""The learning rate: linear warm-up, then half a cosine, or steps down where the validation stays."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hesspot.training.config import OptimizerSection

#: The rate never falls below this part of its peak.
LOWEST = 0.01


@dataclass
class Schedule:
    """The rate as a function of the epochs done, and of the validations with `plateau`.

    factor: product of the reductions so far; best: the best validation loss; since: the epoch of the last
    better validation or reduction.
    """

    settings: OptimizerSection
    factor: float = 1.0
    best: float = math.inf
    since: int = 0

    def rate(self, epochs_done: float, epochs_per_step: float) -> float:
        """The rate of a step that begins when `epochs_done` epochs, with their fraction, have been done."""
        settings = self.settings
        if epochs_done < settings.warmup_epochs:
            return settings.learning_rate * (epochs_done + epochs_per_step) / settings.warmup_epochs
        if settings.schedule == "plateau":
            return settings.learning_rate * self.factor
        done = (epochs_done - settings.warmup_epochs) / max(settings.epochs - settings.warmup_epochs, epochs_per_step)
        return settings.learning_rate * (LOWEST + (1 - LOWEST) * 0.5 * (1.0 + math.cos(math.pi * done)))

    def validated(self, epoch: int, loss: float) -> None:
        """Lower the rate if the validation has not become better for longer than the patience."""
        if loss < self.best:
            self.best, self.since = loss, epoch
        elif self.settings.schedule == "plateau" and epoch - self.since > self.settings.plateau_patience:
            self.factor = max(self.factor * self.settings.plateau_factor, LOWEST)
            self.since = epoch

    def state(self) -> dict[str, float]:
        return {"factor": self.factor, "best": self.best, "since": self.since}

    def load(self, state: dict[str, float]) -> None:
        self.factor, self.best, self.since = state["factor"], state["best"], int(state["since"])
