"""A training run in a folder: epochs with log and checkpoints, from the start or from where it stopped."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from hesspot.console import Progress, say, warn
from hesspot.data import Dataset
from hesspot.errors import UserError
from hesspot.export.fingerprint import choose_structures
from hesspot.export.loaded import described
from hesspot.files import held, write_atomically
from hesspot.models.house import House
from hesspot.training.checkpoint import load_checkpoint, model_of, save_checkpoint
from hesspot.training.config import TrainingConfig, parse_config, read_config
from hesspot.training.export_run import KEPT, REFERENCES
from hesspot.training.log import RunLog, drop_rows_after, note, root_mean_squares
from hesspot.training.loss import LossTerms
from hesspot.training.parallel import device_kept
from hesspot.training.results import final_results, write_results
from hesspot.training.trainer import Trainer, torch_threads

#: Keys that may change between the parts of a run: they change no weight but for rounding.
FREE_KEYS = ("device", "threads", "tensorboard")


@dataclass
class TrainingResult:
    """A finished run: the model with the best validation loss, what it cost, and the rows of its final table.

    validated_on: the part that decided, `train` where no structure is marked valid.
    """

    model: House
    folder: Path
    epochs: int
    training_seconds: float
    best_epoch: int
    best_loss: float
    rows: list[dict[str, Any]]
    validated_on: str


def holds_run(folder: str | Path) -> bool:
    """Whether a folder holds something that was trained: a checkpoint, or a log with rows."""
    folder = Path(folder)
    if any((folder / name).exists() for name in ("last.pt", "best.pt")):
        return True
    log = folder / "log.csv"
    return log.exists() and len(log.read_text().splitlines()) > 1


class Run:
    """One training run in a folder: config.yaml, references.h5, log.csv, last.pt, best.pt."""

    def __init__(self, trainer: Trainer, folder: Path, resume: bool = False):
        self.folder, self.trainer = folder, trainer
        self.config, self.writes = trainer.config, trainer.processes.writes
        self.best_epoch, self.best_loss, self.seconds = 0, math.inf, 0.0
        if resume and (checkpoint := self._checkpoint()) is not None:
            self._go_on(checkpoint)
        else:
            self._start(resume)

    def _checkpoint(self) -> Path | None:
        """What the run goes on from: its last state, or the best one where that is gone."""
        for name in ("last.pt", "best.pt"):
            if (self.folder / name).exists():
                return self.folder / name
        return None

    def _start(self, resume: bool) -> None:
        kept = self.folder / "config.yaml"
        if holds_run(self.folder):
            if self._checkpoint() is None:
                raise UserError(
                    f"folder {self.folder} holds the log of a run whose checkpoints are gone; choose another --out"
                )
            raise UserError(f"folder {self.folder} holds a run already; pass --resume to go on, or another --out")
        if resume and not kept.exists():
            raise UserError(
                f"checkpoint {self.folder / 'last.pt'} does not exist; give the folder of a run made by `hesspot train`"
            )
        old = None
        if kept.exists():  # of a run that was killed before its first checkpoint
            old = read_config(kept)
            self._require_same(old.model_dump())
        if not self.writes:
            return
        self._write_references()
        if old != self.config:
            write_atomically(kept, yaml.safe_dump(self.config.model_dump(), sort_keys=False).encode())

    def _write_references(self) -> None:
        """What the fingerprint of the exported file needs of the data."""
        dataset = self.trainer.data.dataset
        chosen = [dataset[i] for i in choose_structures(dataset.heads, KEPT)]
        Dataset(chosen, dataset.level_of_theory).write(self.folder / REFERENCES)

    def _go_on(self, checkpoint: Path) -> None:
        state = load_checkpoint(checkpoint)
        self._require_same(state["config"])
        self.trainer.load(state, self.folder)
        self.best_epoch, self.best_loss, self.seconds = state["best_epoch"], state["best_loss"], state["seconds"]
        best = load_checkpoint(self.folder / "best.pt")
        if self.best_epoch != best["epoch"] <= self.trainer.epoch:  # its owner has put another model there
            self.best_epoch, self.best_loss = best["epoch"], math.inf
        if not self.writes:
            return
        if checkpoint.name == "best.pt":
            warn(f"{self.folder / 'last.pt'} is gone: the run goes on from best.pt, after epoch {self.trainer.epoch}")
            save_checkpoint(self.folder / "last.pt", state)
        if not (self.folder / REFERENCES).exists():
            self._write_references()
        drop_rows_after(self.folder, self.trainer.epoch)
        for unfinished in self.folder.glob("*.part"):
            unfinished.unlink()

    def _require_same(self, kept: dict[str, Any]) -> None:
        """UserError if the run was started with another configuration."""
        stated = {**kept, "model": {"core": self.config.model.core, **kept["model"]}}  # it may be older than the core
        old, new = ({**keys, **dict.fromkeys(FREE_KEYS)} for keys in (stated, self.config.model_dump()))
        if old != new:
            changed = [key for key, value in new.items() if old.get(key) != value]
            raise UserError(
                f"the run in {self.folder} was started with another configuration ({', '.join(changed)} differ); "
                "resume with the old one, or choose another --out"
            )

    def is_stale(self) -> bool:
        """Whether the validation has not become better for longer than the configured patience."""
        patience = self.config.optimizer.patience
        return patience is not None and self.best_epoch > 0 and self.trainer.epoch - self.best_epoch > patience

    def fit(self, show: bool = True, final_table: bool = True) -> TrainingResult:
        """Train to the configured number of epochs; on an interrupt the last checkpoint stays.

        final_table: evaluate the best model on all parts of the data, and write results.json and results.csv.
        """
        trainer, settings, show = self.trainer, self.config.optimizer, show and self.writes
        if show:
            say(f"gradients by {trainer.backend}; {described(trainer.model.config.core)}")
        with (
            RunLog(self.folder, self.config.tensorboard, self.writes) as log,
            Progress(self.config.mode.upper(), settings.epochs, trainer.epoch, show=show) as progress,
        ):
            while trainer.epoch < settings.epochs and not self.is_stale():
                started = time.perf_counter()
                terms = trainer.train_epoch()
                self.seconds += time.perf_counter() - started
                told = ""
                if trainer.epoch % self.config.validate_every == 0 or trainer.epoch == settings.epochs:
                    row = self._row(terms, trainer.validate())
                    told = note(row)
                    log.write(row)
                    self._save(row["valid_loss"])
                progress.advance(note=told)
        best = model_of(load_checkpoint(self.folder / "best.pt"))
        rows: list[dict[str, Any]] = []
        if final_table and self.writes:
            with Progress("final table", len(trainer.data.dataset), show=show) as progress:
                on_device = copy.deepcopy(best).to(trainer.processes.device)
                rows = final_results(on_device, trainer.data.dataset, self.config.max_edges, progress.advance)
            write_results(self.folder, rows, self.best_epoch)
        return TrainingResult(
            best,
            self.folder,
            trainer.epoch,
            self.seconds,
            self.best_epoch,
            self.best_loss,
            rows,
            trainer.data.validated_on,
        )

    def _save(self, loss: float) -> None:
        """Both checkpoints; `last.pt` after all else of an epoch, so that a killed run goes on from before it."""
        self.trainer.schedule.validated(self.trainer.epoch, loss)
        better = loss < self.best_loss
        if better:
            self.best_loss, self.best_epoch = loss, self.trainer.epoch
        if self.writes:
            content = {
                **self.trainer.state(),
                "best_epoch": self.best_epoch,
                "best_loss": self.best_loss,
                "seconds": self.seconds,
            }
            if better:
                save_checkpoint(self.folder / "best.pt", content)
            save_checkpoint(self.folder / "last.pt", content)
        self.trainer.processes.wait()

    def _row(self, terms: LossTerms, valid: LossTerms) -> dict[str, Any]:
        mode, weights = self.config.mode, self.config.loss
        return {
            "epoch": self.trainer.epoch,
            "learning_rate": self.trainer.optimizer.param_groups[0]["lr"],
            "loss": terms.total(weights, mode),
            **root_mean_squares(terms, mode),
            "valid_loss": valid.total(weights, mode),
            **{f"valid_{key}": value for key, value in root_mean_squares(valid, mode).items()},
            "seconds": round(self.seconds, 3),
            "validated_on": self.trainer.data.validated_on,
        }


def _plain(value: Any) -> Any:
    """Keys of a configuration as a YAML file would hold them: paths as text."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value


def train(
    config: TrainingConfig | Mapping[str, Any] | str | Path,
    folder: str | Path,
    *,
    resume: bool = False,
    show: bool = True,
    final_table: bool = True,
) -> TrainingResult:
    """Train a house model into `folder`: config.yaml, references.h5, log.csv, best.pt, last.pt, a table of its errors.

    Args:
        config: a YAML file, or its keys; docs/training.md lists them.
        resume: go on exactly where the run in `folder` stopped.
        show: tell progress, a bar at a terminal and lines in a file.
        final_table: evaluate the best model on all parts of the data, and write results.json and results.csv.

    UserError for a bad configuration or bad data, a folder that holds a run already unless `resume` or in which another
    process trains, and a loss that is not finite.
    """
    if isinstance(config, str | Path):
        config = read_config(config)
    elif isinstance(config, Mapping):
        config = parse_config(_plain(config), f"for {folder}")
    with torch_threads(config.threads), device_kept():
        trainer = Trainer(config)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if config.threads * trainer.processes.size > cores and trainer.processes.writes:
            asked = f"threads: {config.threads}"
            if trainer.processes.size > 1:
                asked += f" in each of {trainer.processes.size} processes"
            warn(f"{asked} is more than the {cores} cores that this run may use; fewer would be faster")
        if trainer.backend == "kernel":
            torch.set_num_threads(1)  # whose operations are too small to be shared, and would round in another order
        with held(folder, "the run") if trainer.processes.writes else nullcontext():
            result = Run(trainer, Path(folder), resume).fit(show=show, final_table=final_table)
        trainer.processes.close()
    return result
