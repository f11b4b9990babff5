"""The training loop: steps, validation, log, checkpoints, exact resume."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml

from hesspot.console import Progress, warn
from hesspot.data import Dataset
from hesspot.data.quality import label_warnings
from hesspot.data.sources import read_data, require_known_elements, require_one_level
from hesspot.errors import UserError
from hesspot.files import write_atomically
from hesspot.models.ensemble import name_of
from hesspot.models.house import House
from hesspot.training.checkpoint import load_checkpoint, model_of, save_checkpoint
from hesspot.training.config import LossSection, ModelSection, ReplaySection, TrainingConfig
from hesspot.training.initialise import initial_model, member_weights, refit_shifts
from hesspot.training.log import RunLog, drop_rows_after, note, root_mean_squares
from hesspot.training.loss import LossTerms, backward, evaluate_terms
from hesspot.training.optimizer import Schedule, make_optimizer
from hesspot.training.parallel import Processes
from hesspot.training.results import final_results, write_results
from hesspot.training.samples import Sample, groups_by_edges, hash_of_labels, make_samples


@dataclass
class TrainingResult:
    """A finished run: the model with the best validation loss, what it cost, and the rows of its final table."""

    model: House
    folder: Path
    epochs: int
    training_seconds: float
    best_epoch: int
    best_loss: float
    rows: list[dict[str, Any]]


class Run:
    """One training run in a folder: config.yaml, log.csv, last.pt, best.pt."""

    def __init__(self, config: TrainingConfig, folder: Path, resume: bool = False):
        self.folder = folder
        torch.set_num_threads(config.threads)
        self.processes = Processes(config.device)
        start = None if config.start_from is None else load_checkpoint(Path(config.start_from) / "best.pt")
        self.config = config = _with_shape_of(config, start)
        self.dataset = read_data(config.data, config.allow_mixed_levels)
        elements = self.dataset.elements if start is None else _elements_of(start, self.dataset, config)
        self.training = self._samples(self.dataset, "train", elements)
        self.validation = self._samples(self.dataset, "valid", elements) or self.training
        self._check_training_set()
        if self.processes.writes:
            for sentence in label_warnings(self.dataset):
                warn(sentence)
        self.replayed = [] if config.replay is None else self._replayed_samples(config.replay, elements)
        self._weigh_for_members()
        self.labels = hash_of_labels([*self.training, *self.validation, *self.replayed])
        self.model = self._first_model(elements, start).to(self.processes.device)
        self.average = copy.deepcopy(self.model)
        self.optimizer = make_optimizer(self.model, config.optimizer)
        self.schedule = Schedule(config.optimizer)
        self.generator = torch.Generator().manual_seed(config.seed)
        self.epoch, self.step, self.best_epoch, self.best_loss, self.seconds = 0, 0, 0, math.inf, 0.0
        if resume:
            self._resume()
        else:
            self._start()

    def _samples(self, dataset: Dataset, part: str, elements: list[str], first_number: int = 0) -> list[Sample]:
        config = self.config
        return make_samples(
            dataset.select(part=part).records,
            elements,
            config.model.cutoff,
            config.mode,
            config.hessian.missing,
            self.processes.device,
            first_number,
            config.hessian.metric,
        )

    def _check_training_set(self) -> None:
        data, training = self.config.data, self.training
        if not training:
            raise UserError(f"dataset {data} has no structure in its part train; mark some as train")
        if len(training) == 1 and self.config.start_from is None:
            raise UserError(
                f"dataset {data} has one structure, {training[0].name}, in its part train, which fixes no model; "
                "give more, or train on from another run with start_from"
            )
        if self.config.mode == "efh" and not any(sample.has_curvature for sample in training):
            raise UserError(f"no structure in the part train of {data} has a Hessian, which mode efh needs; use ef")

    def _replayed_samples(self, replay: ReplaySection, elements: list[str]) -> list[Sample]:
        dataset = read_data(replay.data, self.config.allow_mixed_levels)
        require_one_level([self.dataset, dataset], self.config.allow_mixed_levels)
        require_known_elements(dataset, elements, f"the data to be replayed, {replay.data}")
        samples = self._samples(dataset, "train", elements, first_number=len(self.training))
        if not samples:
            raise UserError(f"dataset {replay.data} has no structure in its part train to be replayed; mark some")
        return samples

    def _weigh_for_members(self) -> None:
        """Give each structure its weights for the members of a committee."""
        ways = self.config.ensemble.bootstrap, self.config.model.members, self.config.seed
        weights = member_weights(len(self.training) + len(self.replayed), *ways)
        if weights is not None:
            self.training, self.replayed = (
                [replace(sample, member_weights=weights[sample.number]) for sample in samples]
                for samples in (self.training, self.replayed)
            )

    def _first_model(self, elements: list[str], start: dict[str, Any] | None) -> House:
        """Random weights fitted to the data, or the model of the run that this one starts from."""
        if start is None:
            return initial_model(self.config.model.shape(elements), self.training, self.config.seed)
        model = model_of(start).to(self.processes.device)
        if start["level_of_theory"] != self.dataset.level_of_theory:
            refit_shifts(model, self.training + self.replayed)
        return model

    def _start(self) -> None:
        if (self.folder / "last.pt").exists():
            raise UserError(f"folder {self.folder} holds a run already; pass --resume to go on, or another --out")
        if not self.processes.writes:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            settings = yaml.safe_dump(self.config.model_dump(), sort_keys=False)
            write_atomically(self.folder / "config.yaml", settings.encode())
        except OSError as error:
            raise UserError(f"folder {self.folder} cannot be written ({error}); choose another --out") from error

    def _resume(self) -> None:
        if (self.folder / "config.yaml").exists() and not (self.folder / "last.pt").exists():
            return  # killed before the first checkpoint: from the beginning
        content = load_checkpoint(self.folder / "last.pt")
        where = "device", "threads", "tensorboard"  # they may change between the parts of a run
        old, new = ({**c, **dict.fromkeys(where)} for c in (content["config"], self.config.model_dump()))
        if old != new:
            changed = [key for key, value in new.items() if old.get(key) != value]
            raise UserError(
                f"the run in {self.folder} was started with another configuration ({', '.join(changed)} differ); "
                "resume with the old one, or choose another --out"
            )
        if content["model_config"] != self.model.config.model_dump() or content["labels"] != self.labels:
            raise UserError(
                f"the data of the run in {self.folder} have changed since it was started; "
                "resume with the old ones, or choose another --out"
            )
        self.model.load_state_dict(content["last"])
        self.average.load_state_dict(content["average"])
        for model in (self.model, self.average):
            model.shifts = list(content["shifts"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.schedule.load(content["schedule"])
        self.generator.set_state(content["generator"])
        self.epoch, self.step, self.best_epoch = content["epoch"], content["step"], content["best_epoch"]
        self.best_loss, self.seconds = content["best_loss"], content["seconds"]
        if self.processes.writes:
            drop_rows_after(self.folder, self.epoch)
            for unfinished in self.folder.glob("*.part"):
                unfinished.unlink()

    def weights(self) -> LossSection:
        """The loss weights of this epoch: that of the Hessian grows over the first `ramp_epochs`."""
        ramp = self.config.hessian.ramp_epochs
        reached = min(1.0, (self.epoch + 1) / ramp) if ramp else 1.0
        return self.config.loss.model_copy(update={"hessian": reached * self.config.loss.hessian})

    def draw_batches(self) -> list[list[Sample]]:
        """The structures of an epoch in a new random order: all of the training set, and a share of the replayed."""
        drawn = list(self.training)
        if self.config.replay is not None:
            share = self.config.replay.share
            wanted = max(1, round(share / (1.0 - share) * len(self.training)))
            while len(drawn) < len(self.training) + wanted:
                order = torch.randperm(len(self.replayed), generator=self.generator).tolist()
                drawn += [self.replayed[i] for i in order[: len(self.training) + wanted - len(drawn)]]
        shuffled = [drawn[i] for i in torch.randperm(len(drawn), generator=self.generator).tolist()]
        settings = self.config.optimizer
        if settings.batch_edges is not None:
            return groups_by_edges(shuffled, settings.batch_edges)
        return [shuffled[i : i + settings.batch_size] for i in range(0, len(shuffled), settings.batch_size)]

    def train_epoch(self) -> LossTerms:
        """All batches of an epoch, one step for each."""
        weights, batches, terms = self.weights(), self.draw_batches(), LossTerms()
        for number, batch in enumerate(batches):
            rate = self.schedule.rate(self.epoch + number / len(batches), 1 / len(batches))
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            terms.add(self._train_step(batch, weights))
        return terms

    def _train_step(self, batch: list[Sample], weights: LossSection) -> LossTerms:
        config = self.config
        self.optimizer.zero_grad(set_to_none=True)
        own = backward(
            self.model,
            batch,
            config.mode,
            weights,
            config.hessian,
            self.generator,
            config.max_edges,
            self.processes.share,
        )
        terms = self.processes.sum_terms(own)
        self.processes.sum_gradients(self.model.parameters())
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.optimizer.gradient_clip)
        if not (math.isfinite(terms.total(weights, config.mode)) and bool(torch.isfinite(norm))):
            rate = self.optimizer.param_groups[0]["lr"]
            raise UserError(
                f"the loss is not a finite number in epoch {self.epoch + 1} (learning rate {rate:.2g}); "
                "lower optimizer.learning_rate and check the labels with `hesspot data check`"
            )
        self.optimizer.step()
        decay = min(config.optimizer.average, (1.0 + self.step) / (10.0 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1.0 - decay)
        self.step += 1
        return terms

    def checkpoint(self) -> dict[str, Any]:
        """All state of the run."""
        return {
            "config": self.config.model_dump(),
            "architecture": name_of(self.model),
            "model_config": self.model.config.model_dump(),
            "shifts": self.model.shifts,
            "last": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state(),
            "generator": self.generator.get_state(),
            "labels": self.labels,
            "epoch": self.epoch,
            "step": self.step,
            "best_epoch": self.best_epoch,
            "best_loss": self.best_loss,
            "seconds": self.seconds,
            "level_of_theory": self.dataset.level_of_theory,
        }

    def is_stale(self) -> bool:
        """Whether the validation has not become better for longer than the configured patience."""
        patience = self.config.optimizer.patience
        return patience is not None and self.best_epoch > 0 and self.epoch - self.best_epoch > patience

    def validate(self) -> LossTerms:
        """The validation terms of the averaged weights, with full Hessians in mode efh."""
        own = self.validation[self.processes.share]
        return self.processes.sum_terms(evaluate_terms(self.average, own, self.config.mode, self.config.max_edges))

    def fit(self, show: bool = True, final_table: bool = True) -> TrainingResult:
        """Train to the configured number of epochs; on an interrupt the last checkpoint stays.

        final_table: evaluate the best model on all parts of the data, and write results.json and results.csv.
        """
        settings, show = self.config.optimizer, show and self.processes.writes
        with (
            RunLog(self.folder, self.config.tensorboard, self.processes.writes) as log,
            Progress(self.config.mode.upper(), settings.epochs, self.epoch, show=show) as progress,
        ):
            while self.epoch < settings.epochs and not self.is_stale():
                started = time.perf_counter()
                terms = self.train_epoch()
                self.epoch += 1
                self.seconds += time.perf_counter() - started
                told = ""
                if self.epoch % self.config.validate_every == 0 or self.epoch == settings.epochs:
                    row = self._row(terms, self.validate())
                    told = note(row)
                    log.write(row)
                    self._save(row["valid_loss"])
                progress.advance(note=told)
        best = model_of(load_checkpoint(self.folder / "best.pt"))
        rows: list[dict[str, Any]] = []
        if final_table and self.processes.writes:
            with Progress("final table", len(self.dataset), show=show) as progress:
                on_device = copy.deepcopy(best).to(self.processes.device)
                rows = final_results(on_device, self.dataset, self.config.max_edges, progress.advance)
            write_results(self.folder, rows, self.best_epoch)
        return TrainingResult(best, self.folder, self.epoch, self.seconds, self.best_epoch, self.best_loss, rows)

    def _save(self, loss: float) -> None:
        """Both checkpoints; `last.pt` after all else of an epoch, so that a killed run goes on from before it."""
        self.schedule.validated(self.epoch, loss)
        better = loss < self.best_loss
        if better:
            self.best_loss, self.best_epoch = loss, self.epoch
        if self.processes.writes:
            content = self.checkpoint()
            if better:
                save_checkpoint(self.folder / "best.pt", content)
            save_checkpoint(self.folder / "last.pt", content)
        self.processes.wait()

    def _row(self, terms: LossTerms, valid: LossTerms) -> dict[str, Any]:
        mode, weights = self.config.mode, self.config.loss
        return {
            "epoch": self.epoch,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "loss": terms.total(weights, mode),
            **root_mean_squares(terms, mode),
            "valid_loss": valid.total(weights, mode),
            **{f"valid_{key}": value for key, value in root_mean_squares(valid, mode).items()},
            "seconds": round(self.seconds, 3),
        }


def _with_shape_of(config: TrainingConfig, start: dict[str, Any] | None) -> TrainingConfig:
    """The configuration with the shape of the model that is trained on, where it gives none of its own.

    UserError where it gives another.
    """
    if start is None:
        return config
    shape = {key: value for key, value in start["model_config"].items() if key != "elements"}
    if "model" not in config.model_fields_set:
        return config.model_copy(update={"model": ModelSection(**shape)})
    if config.model != ModelSection(**shape):
        told = ", ".join(f"{key} {value}" for key, value in ModelSection(**shape).model_dump().items())
        raise UserError(
            f"the model of {config.start_from} has {told}, this run asks for another; "
            "give the same shape, or leave the section model out"
        )
    return config


def _elements_of(start: dict[str, Any], dataset: Dataset, config: TrainingConfig) -> list[str]:
    """The elements of the model that is trained on; UserError if the data have others."""
    elements: list[str] = start["model_config"]["elements"]
    require_known_elements(dataset, elements, f"the model of {config.start_from}")
    return elements


def train(
    config: TrainingConfig, folder: str | Path, *, resume: bool = False, show: bool = True, final_table: bool = True
) -> TrainingResult:
    """Train a house model into `folder`; see `TrainingConfig`. `resume` goes on exactly where the run stopped."""
    run = Run(config, Path(folder), resume=resume)
    result = run.fit(show=show, final_table=final_table)
    run.processes.close()
    return result
