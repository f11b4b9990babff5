"""The training loop: steps, validation, log, checkpoints, exact resume."""

from __future__ import annotations

import copy
import csv
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from hesspot.data import Dataset
from hesspot.data.shipped import find_dataset
from hesspot.errors import UserError
from hesspot.files import write_atomically
from hesspot.models.house import HouseConfig, HouseModel
from hesspot.training.checkpoint import load_checkpoint, model_of, save_checkpoint
from hesspot.training.config import LossSection, TrainingConfig
from hesspot.training.initialise import initial_model
from hesspot.training.loss import LossTerms, backward, evaluate_terms
from hesspot.training.samples import Sample, make_samples

COLUMNS = [
    "epoch",
    "learning_rate",
    "loss",
    "energy_rmse",
    "forces_rmse",
    "hessian_rmse",
    "valid_loss",
    "valid_energy_rmse",
    "valid_forces_rmse",
    "valid_hessian_rmse",
    "seconds",
]


@dataclass
class TrainingResult:
    """A finished run: the model with the best validation loss, and what it cost."""

    model: HouseModel
    folder: Path
    epochs: int
    training_seconds: float
    best_epoch: int
    best_loss: float


class Run:
    """One training run in a folder: config.yaml, log.csv, last.pt, best.pt."""

    def __init__(self, config: TrainingConfig, folder: Path, resume: bool = False):
        self.config, self.folder = config, folder
        torch.set_num_threads(config.threads)
        self.dataset = Dataset.read(find_dataset(config.data))
        elements = self.dataset.elements
        training, validation = (
            make_samples(
                self.dataset.select(part=part).records,
                elements,
                config.model.cutoff,
                config.mode,
                config.hessian.missing,
            )
            for part in ("train", "valid")
        )
        if not training:
            raise UserError(f"dataset {config.data} has no structure in its part train; mark some as train")
        if config.mode == "efh" and all(sample.hessian is None for sample in training):
            raise UserError(
                f"no structure in the part train of {config.data} has a Hessian, which mode efh needs; use ef"
            )
        self.training: list[Sample] = training
        self.validation: list[Sample] = validation or training
        self.model = self._first_model(HouseConfig(elements=elements, **config.model.model_dump()))
        self.average = copy.deepcopy(self.model)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=config.optimizer.learning_rate, weight_decay=config.optimizer.weight_decay
        )
        self.generator = torch.Generator().manual_seed(config.seed)
        self.epoch, self.best_epoch, self.best_loss, self.seconds = 0, 0, math.inf, 0.0
        if resume:
            self._resume()
        else:
            self._start()

    def _first_model(self, shape: HouseConfig) -> HouseModel:
        """Random weights fitted to the data, or the model of the run that this one starts from."""
        if self.config.start_from is None:
            return initial_model(shape, self.training, self.config.seed)
        model = model_of(load_checkpoint(Path(self.config.start_from) / "best.pt"))
        if model.config != shape:
            raise UserError(
                f"the model of {self.config.start_from} has {model.config}, this run asks for {shape}; "
                "give the same shape, and data of the same elements"
            )
        return model

    def _start(self) -> None:
        if (self.folder / "last.pt").exists():
            raise UserError(f"folder {self.folder} holds a run already; pass --resume to go on, or another --out")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "config.yaml").write_text(yaml.safe_dump(self.config.model_dump(), sort_keys=False))
        except OSError as error:
            raise UserError(f"folder {self.folder} cannot be written ({error}); choose another --out") from error

    def _resume(self) -> None:
        content = load_checkpoint(self.folder / "last.pt")
        if content["config"] != self.config.model_dump():
            changed = [key for key, value in self.config.model_dump().items() if content["config"].get(key) != value]
            raise UserError(
                f"the run in {self.folder} was started with another configuration ({', '.join(changed)} differ); "
                "resume with the old one, or choose another --out"
            )
        self.model.load_state_dict(content["last"])
        self.average.load_state_dict(content["average"])
        for model in (self.model, self.average):
            model.shifts = list(content["shifts"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.generator.set_state(content["generator"])
        self.epoch, self.best_epoch = content["epoch"], content["best_epoch"]
        self.best_loss, self.seconds = content["best_loss"], content["seconds"]
        self._drop_log_after(self.epoch)

    def _drop_log_after(self, epoch: int) -> None:
        log = self.folder / "log.csv"
        if not log.exists():
            return
        header, *rows = log.read_text().splitlines()
        kept = [row for row in rows if row.count(",") == len(COLUMNS) - 1 and int(row.split(",")[0]) <= epoch]
        write_atomically(log, ("\n".join([header, *kept]) + "\n").encode())

    def learning_rate(self, step: int, steps_per_epoch: int) -> float:
        """Linear warm-up, then half a cosine to a hundredth of the peak."""
        settings = self.config.optimizer
        warmup = settings.warmup_epochs * steps_per_epoch
        total = settings.epochs * steps_per_epoch
        if step < warmup:
            return settings.learning_rate * (step + 1) / warmup
        done = (step - warmup) / max(total - warmup, 1)
        return settings.learning_rate * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * done)))

    def weights(self) -> LossSection:
        """The loss weights of this epoch: that of the Hessian grows over the first `ramp_epochs`."""
        ramp = self.config.hessian.ramp_epochs
        reached = min(1.0, (self.epoch + 1) / ramp) if ramp else 1.0
        return self.config.loss.model_copy(update={"hessian": reached * self.config.loss.hessian})

    def train_epoch(self) -> LossTerms:
        """All training structures once, in a new random order."""
        settings = self.config.optimizer
        weights = self.weights()
        order = torch.randperm(len(self.training), generator=self.generator).tolist()
        size = settings.batch_size
        batches = [order[first : first + size] for first in range(0, len(order), size)]
        terms = LossTerms()
        for number, indices in enumerate(batches):
            rate = self.learning_rate(self.epoch * len(batches) + number, len(batches))
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.optimizer.zero_grad(set_to_none=True)
            step = backward(
                self.model,
                [self.training[i] for i in indices],
                self.config.mode,
                weights,
                self.config.hessian,
                self.generator,
                self.config.max_edges,
            )
            terms.add(step)
            norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.gradient_clip)
            if not (math.isfinite(step.total(self.config.loss, self.config.mode)) and bool(torch.isfinite(norm))):
                raise UserError(
                    f"the loss is not a finite number in epoch {self.epoch + 1} (learning rate {rate:.2g}); "
                    "lower optimizer.learning_rate and check the labels with `hesspot data check`"
                )
            self.optimizer.step()
            self._update_average(number + self.epoch * len(batches))
        return terms

    def _update_average(self, step: int) -> None:
        decay = min(self.config.optimizer.average, (1.0 + step) / (10.0 + step))
        with torch.no_grad():
            for mean, value in zip(self.average.parameters(), self.model.parameters(), strict=True):
                mean.lerp_(value, 1.0 - decay)

    def checkpoint(self) -> dict[str, Any]:
        """All state of the run."""
        return {
            "config": self.config.model_dump(),
            "model_config": self.model.config.model_dump(),
            "shifts": self.model.shifts,
            "last": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "epoch": self.epoch,
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
        return evaluate_terms(self.average, self.validation, self.config.mode)

    def fit(self, show: bool = True) -> TrainingResult:
        """Train to the configured number of epochs; on an interrupt the last checkpoint stays."""
        settings = self.config.optimizer
        log = self.folder / "log.csv"
        new = not log.exists()
        with log.open("a", newline="") as stream, _progress(show) as progress:
            writer = csv.DictWriter(stream, COLUMNS)
            if new:
                writer.writeheader()
            task = progress.add_task(self.config.mode.upper(), total=settings.epochs, completed=self.epoch, note="")
            while self.epoch < settings.epochs and not self.is_stale():
                started = time.perf_counter()
                terms = self.train_epoch()
                self.epoch += 1
                self.seconds += time.perf_counter() - started
                row = self._row(terms)
                if self.epoch % self.config.validate_every == 0 or self.epoch == settings.epochs:
                    row.update(self._validate_and_save())
                    progress.update(task, note=_note(row))
                    writer.writerow(row)
                    stream.flush()
                progress.advance(task)
        best = load_checkpoint(self.folder / "best.pt")
        return TrainingResult(model_of(best), self.folder, self.epoch, self.seconds, self.best_epoch, self.best_loss)

    def _validate_and_save(self) -> dict[str, Any]:
        terms = self.validate()
        loss = terms.total(self.config.loss, self.config.mode)
        better = loss < self.best_loss
        if better:
            self.best_loss, self.best_epoch = loss, self.epoch
            save_checkpoint(self.folder / "best.pt", self.checkpoint())
        save_checkpoint(self.folder / "last.pt", self.checkpoint())
        return {"valid_loss": loss, **{f"valid_{key}": value for key, value in _rmse(terms, self.config.mode).items()}}

    def _row(self, terms: LossTerms) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "loss": terms.total(self.config.loss, self.config.mode),
            **_rmse(terms, self.config.mode),
            "seconds": round(self.seconds, 3),
        }


def _rmse(terms: LossTerms, mode: str) -> dict[str, float]:
    """Root mean squares over structures: eV/√atom, eV/Å, eV/Å²."""
    values = {"energy_rmse": math.sqrt(terms.energy / max(terms.structures, 1))}
    if mode != "e":
        values["forces_rmse"] = math.sqrt(terms.forces / max(terms.structures, 1))
    if mode == "efh":
        values["hessian_rmse"] = math.sqrt(terms.hessian / max(terms.with_hessian, 1))
    return values


def _note(row: dict[str, Any]) -> str:
    units = {"energy": "eV/√n", "forces": "eV/Å", "hessian": "eV/Å²"}
    parts = [
        f"{key[0].upper()} {row[f'valid_{key}_rmse']:.4f} {unit}"
        for key, unit in units.items()
        if f"valid_{key}_rmse" in row
    ]
    return "valid " + "  ".join(parts)


@contextmanager
def _progress(show: bool) -> Iterator[Progress]:
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
        disable=not show,
    ) as progress:
        yield progress


def train(config: TrainingConfig, folder: str | Path, *, resume: bool = False, show: bool = True) -> TrainingResult:
    """Train a house model into `folder`; see `TrainingConfig`. `resume` goes on exactly where the run stopped."""
    return Run(config, Path(folder), resume=resume).fit(show=show)
