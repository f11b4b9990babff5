"""Steps of training: batches, gradients, the averaged weights, and the state that they leave."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from hesspot.errors import UserError
from hesspot.kernel import KernelModel
from hesspot.kernel.house_training import TrainedHouse, what_training_lacks
from hesspot.models.architectures import name_of
from hesspot.models.flat_weights import FlatWeights
from hesspot.training.checkpoint import FIRST_RESUMED
from hesspot.training.config import TERMS, LossSection, TrainingConfig
from hesspot.training.loss import LossTerms, backward, evaluate_terms
from hesspot.training.optimizer import Schedule, make_optimizer
from hesspot.training.parallel import Processes
from hesspot.training.samples import Sample, in_groups
from hesspot.training.start import first_model, read_training_data, with_shape_of
from hesspot.training.starting_point import read_start


class Trainer:
    """A model in training: it is stepped epoch by epoch, and writes nothing."""

    def __init__(self, config: TrainingConfig):
        self.processes = Processes(config.device)
        start = None if config.start_from is None else read_start(config.start_from)
        self.config = config = with_shape_of(config, start)
        device = self.processes.device
        self.data = read_training_data(config, start, device, warnings=self.processes.writes)
        self.model = first_model(config, self.data, start, device)
        self.average = copy.deepcopy(self.model)
        self.backend = choose_backend(config.backend, self.model)
        self._weights, self._averages = (
            FlatWeights(each.parameters(), each.matrices()) for each in (self.model, self.average)
        )
        self._differentiated = self._differentiable()
        self.optimizer = make_optimizer(self._weights, config.optimizer, config.threads)
        self.schedule = Schedule(config.optimizer)
        self.generator = torch.Generator().manual_seed(config.seed)
        self.epoch, self.step = 0, 0

    def _differentiable(self) -> Any:
        """The model as the backend differentiates it; the kernel's copy has the shifts and the scales of now."""
        return TrainedHouse(self.model, self._weights, self.config.threads) if self.backend == "kernel" else self.model

    def weights(self) -> LossSection:
        """The loss weights of this epoch: that of the Hessian grows over the first `ramp_epochs`."""
        ramp = self.config.hessian.ramp_epochs
        reached = min(1.0, (self.epoch + 1) / ramp) if ramp else 1.0
        return self.config.loss.model_copy(update={"hessian": reached * self.config.loss.hessian})

    def draw_batches(self) -> list[list[int]]:
        """The structures of an epoch in a new random order: all of the training set, and a share of the replayed.

        These come after those of the training set in the numbers that are drawn; see `samples`.
        """
        own = len(self.data.training)
        drawn = list(range(own))
        if self.config.replay is not None and self.data.replayed is not None:
            share = self.config.replay.share
            wanted = max(1, round(share / (1.0 - share) * own))
            while len(drawn) < own + wanted:
                order = torch.randperm(len(self.data.replayed), generator=self.generator).tolist()
                drawn += [own + i for i in order[: own + wanted - len(drawn)]]
        shuffled = [drawn[i] for i in torch.randperm(len(drawn), generator=self.generator).tolist()]
        settings = self.config.optimizer
        if settings.batch_edges is not None:
            return list(in_groups(shuffled, self._edges, settings.batch_edges))
        return [shuffled[i : i + settings.batch_size] for i in range(0, len(shuffled), settings.batch_size)]

    def _edges(self, number: int) -> int:
        own = len(self.data.training)
        if number < own or self.data.replayed is None:
            return int(self.data.training.n_edges[number])
        return int(self.data.replayed.n_edges[number - own])

    def samples(self, batch: Sequence[int]) -> list[Sample]:
        """What `draw_batches` has drawn."""
        own, replayed = len(self.data.training), self.data.replayed
        return [self.data.training[i] if i < own or replayed is None else replayed[i - own] for i in batch]

    def train_epoch(self) -> LossTerms:
        """All batches of an epoch, one step for each."""
        weights, batches, terms = self.weights(), self.draw_batches(), LossTerms()
        for number, batch in enumerate(batches):
            rate = self.schedule.rate(self.epoch + number / len(batches), 1 / len(batches))
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            terms.add(self._train_step(self.samples(batch), weights))
        self.epoch += 1
        return terms

    def _train_step(self, batch: list[Sample], weights: LossSection) -> LossTerms:
        config = self.config
        self._weights.gradient.zero_()
        own = backward(
            self._differentiated,
            batch,
            config.mode,
            weights,
            config.hessian,
            self.generator,
            config.max_edges,
            self.processes.share,
        )
        terms = self.processes.sum_terms(own)
        self.processes.sum_gradient(self._weights.gradient)
        norm = float(torch.linalg.vector_norm(self._weights.gradient))
        if norm > config.optimizer.gradient_clip:
            self._weights.gradient.mul_(config.optimizer.gradient_clip / norm)
        if not (math.isfinite(terms.total(weights, config.mode)) and math.isfinite(norm)):
            rate = self.optimizer.param_groups[0]["lr"]
            raise UserError(
                f"the loss{self._not_finite(batch, weights)} is not a finite number, or its gradient is not, in epoch "
                f"{self.epoch + 1} (learning rate {rate:.2g}); lower optimizer.learning_rate and check the labels with "
                "`hesspot data check`"
            )
        self.optimizer.step()
        decay = min(config.optimizer.average, (1.0 + self.step) / (10.0 + self.step))
        self._averages.values.data.lerp_(self._weights.values.data, 1.0 - decay)
        self.step += 1
        return terms

    def _not_finite(self, batch: list[Sample], weights: LossSection) -> str:
        """The first structure and term whose loss or gradient is not finite by itself, in words; empty if none is."""
        config = self.config
        none = dict.fromkeys(LossSection.model_fields, 0.0)
        for sample in batch:
            for term in TERMS[config.mode]:
                self._weights.gradient.zero_()
                own = weights.model_copy(update={**none, term: getattr(weights, term)})
                loss = backward(
                    self._differentiated,
                    [sample],
                    config.mode,
                    own,
                    config.hessian,
                    self.generator,
                    config.max_edges,
                )
                if not (math.isfinite(getattr(loss, term)) and bool(self._weights.gradient.isfinite().all())):
                    return f" of the term {term} of structure {sample.name}"
        return ""

    def validate(self) -> LossTerms:
        """The validation terms of the averaged weights, with full Hessians in mode efh."""
        own = islice(self.data.validation, self.processes.rank, None, self.processes.size)
        model = KernelModel.of(self.average) if self.backend == "kernel" else self.average
        return self.processes.sum_terms(evaluate_terms(model, own, self.config.mode, self.config.max_edges))

    def state(self) -> dict[str, Any]:
        """All that another trainer of the same configuration needs to go on exactly."""
        return {
            "config": self.config.model_dump(),
            "architecture": name_of(self.model),
            "backend": self.backend,
            "model_config": self.model.config.model_dump(),
            "shifts": self.model.shifts,
            "last": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state(),
            "generator": self.generator.get_state(),
            "labels": self.data.labels,
            "epoch": self.epoch,
            "step": self.step,
            "level_of_theory": self.data.dataset.level_of_theory,
            "electrons": self.data.electrons,
        }

    def load(self, state: dict[str, Any], place: Path) -> None:
        """Go on from a state that was kept in `place`; UserError if the data have changed."""
        own, kept = ({**keys, "core": None} for keys in (self.model.config.model_dump(), state["model_config"]))
        if own != kept or state["labels"] != self.data.labels:
            raise UserError(
                f"the data of the run in {place} have changed since it was started; "
                "resume with the old ones, or choose another --out"
            )
        if state["version"] < FIRST_RESUMED:
            raise UserError(
                f"the run in {place} was made by an older hesspot, whose optimizer kept other things; finish it with "
                f"that one, or begin another run with start_from: {place}"
            )
        if state["backend"] != self.backend:
            raise UserError(
                f"the run in {place} takes its gradients from backend {state['backend']}, this would go on with "
                f"{self.backend}, which rounds otherwise; set backend: {state['backend']}, or choose another --out"
            )
        self.model.load_state_dict(state["last"])
        self.average.load_state_dict(state["average"])
        for model in (self.model, self.average):
            model.shifts = list(state["shifts"])
            model.set_core(state["model_config"].get("core"))
        self._differentiated = self._differentiable()
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load(state["schedule"])
        self.generator.set_state(state["generator"])
        self.epoch, self.step = state["epoch"], state["step"]


def choose_backend(wanted: str, model: Any) -> str:
    """kernel or torch; UserError if the kernel is wanted and cannot train the model."""
    lacking = what_training_lacks(model)
    if wanted == "kernel" and lacking:
        raise UserError(f"backend: kernel cannot be: {lacking}; set backend: auto or torch")
    return "torch" if wanted == "torch" or lacking else "kernel"


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Torch on so many threads in this block, and on as many as before after it."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
