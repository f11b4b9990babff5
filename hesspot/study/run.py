"""All trainings and evaluations of a study, in a folder that a killed study continues in.

study.yaml, source.json, data/ (the fractions), runs/ARM/fraction-F/seed-S/ (training runs with their evaluations),
cost.csv, and what `hesspot.study.report` writes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path

import yaml

from hesspot.console import Progress, say
from hesspot.data import Dataset
from hesspot.data.shipped import find_dataset
from hesspot.errors import UserError
from hesspot.files import held, write_atomically
from hesspot.pool import executor
from hesspot.settings import read_yaml
from hesspot.study.config import Arm, StudyConfig
from hesspot.study.cost import measure_cost, read_cost
from hesspot.study.evaluate import evaluate, is_evaluated, reactions, tested_records, write_evaluation
from hesspot.study.subsets import training_subset
from hesspot.training.checkpoint import load_checkpoint, model_of
from hesspot.training.config import TrainingConfig
from hesspot.training.loop import FREE_KEYS, holds_run, train


@dataclass(frozen=True)
class Job:
    """One training run of a study: its arm, fraction and seed, its folder, and its training configuration."""

    arm: str
    fraction: float
    seed: int
    folder: Path
    config: TrainingConfig

    @property
    def label(self) -> str:
        """The run in words."""
        return f"{self.arm}, fraction {self.fraction:g}, seed {self.seed}"


class Study:
    """A study in a folder: its data and its runs."""

    def __init__(self, config: StudyConfig, folder: str | Path):
        folder = Path(folder)
        self.config, self.folder = config, folder
        self.dataset = Dataset.read(find_dataset(config.data))
        tested_records(self.dataset, config.data)
        reactions(self.dataset)
        self._subsets: dict[Path, Dataset] = {}
        self.waves = [[job for arm in wave for job in self._jobs(arm)] for wave in config.waves()]

    @property
    def jobs(self) -> list[Job]:
        """All runs, each after the one it starts from."""
        return [job for wave in self.waves for job in wave]

    def subset(self, fraction: float, seed: int) -> tuple[Path, Dataset]:
        """File and content of the data of a fraction and seed."""
        name = "all.h5" if fraction == 1.0 else f"fraction-{fraction:g}-seed-{seed}.h5"
        path = self.folder / "data" / name
        if path not in self._subsets:
            self._subsets[path] = training_subset(self.dataset, fraction, seed)
        return path, self._subsets[path]

    def _jobs(self, arm: Arm) -> Iterator[Job]:
        for fraction in arm.fractions:
            for seed in self.config.keys.seeds:
                data, _ = self.subset(fraction, seed)
                start = None if arm.after is None else self._place(self.config.arms[arm.after], fraction, seed)
                config = self.config.training(arm, str(data), seed, None if start is None else str(start))
                if self.config.keys.same_steps:
                    config = self._stretched(config, fraction, seed)
                yield Job(arm.name, fraction, seed, self._place(arm, fraction, seed), config)

    def _place(self, arm: Arm, fraction: float, seed: int) -> Path:
        return self.folder / "runs" / arm.slug / f"fraction-{fraction:g}" / f"seed-{seed}"

    def _stretched(self, config: TrainingConfig, fraction: float, seed: int) -> TrainingConfig:
        """The configuration with all numbers of epochs stretched to as many steps as with all data."""
        size = config.optimizer.batch_size if config.optimizer.batch_edges is None else 1
        whole, part = (-(-len(self.subset(f, seed)[1].select(part="train")) // size) for f in (1.0, fraction))

        def longer(epochs: int) -> int:
            return round(epochs * whole / part)

        old = config.optimizer
        optimizer = old.model_copy(
            update={
                "epochs": longer(old.epochs),
                "warmup_epochs": longer(old.warmup_epochs),
                "plateau_patience": longer(old.plateau_patience),
                "patience": None if old.patience is None else longer(old.patience),
            }
        )
        hessian = config.hessian.model_copy(update={"ramp_epochs": longer(config.hessian.ramp_epochs)})
        changed = {"optimizer": optimizer, "hessian": hessian, "validate_every": longer(config.validate_every)}
        return config.model_copy(update=changed)

    def start(self, resume: bool) -> None:
        """Make the folder with its data, or check that what it holds belongs to this study."""
        file = find_dataset(self.config.data)
        with file.open("rb") as content:
            source = {"data": self.config.data, "sha256": hashlib.file_digest(content, "sha256").hexdigest()}
        record = self.folder / "source.json"
        if record.exists():
            if not resume:
                raise UserError(f"folder {self.folder} holds a study already; pass --resume to go on, or another --out")
            if json.loads(record.read_text())["sha256"] != source["sha256"]:
                raise UserError(
                    f"the study in {self.folder} was made with another content of {self.config.data}; "
                    "bring that back, or choose another --out"
                )
        for job in self.jobs:
            _check_same(job)
        try:
            (self.folder / "data").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"folder {self.folder} cannot be written ({error}); choose another --out") from error
        for path, subset in self._subsets.items():
            if not path.exists():
                subset.write(path)
        write_atomically(
            self.folder / "study.yaml", yaml.safe_dump(self.config.keys.model_dump(), sort_keys=False).encode()
        )
        write_atomically(record, json.dumps(source, indent=2).encode())


def run_study(
    config: StudyConfig, folder: str | Path, *, resume: bool = False, jobs: int = 1, show: bool = True
) -> Study:
    """Train and evaluate what is missing, `jobs` runs at a time, then time the arms; see `StudyKeys`.

    UserError where a finished or half-done run was made with another configuration.
    """
    folder = Path(folder)
    if jobs < 1:
        raise UserError(f"--jobs {jobs} runs nothing; give a number of processes, such as 2")
    with held(folder, "the study"):
        return _run_study(Study(config, folder), resume, jobs, show)


def _run_study(study: Study, resume: bool, jobs: int, show: bool) -> Study:
    config, folder = study.config, study.folder
    study.start(resume)
    done = sum(is_evaluated(job.folder) for job in study.jobs)
    with Progress("runs", len(study.jobs), done, show=show and jobs > 1) as progress:
        for wave in study.waves:
            missing = [job for job in wave if not is_evaluated(job.folder)]
            _run_wave(missing, config.data, jobs, show, lambda job: progress.advance(note=job.label))
    if config.keys.cost_epochs and read_cost(folder) is None:
        first = {job.arm: job.config for job in reversed(study.jobs) if job.fraction == max(config.fractions)}
        timed = {name: first[name] for name in config.arms if name in first}
        measure_cost(timed, folder, config.keys.cost_epochs, show=show)
    return study


def _run_wave(missing: Sequence[Job], data: str, jobs: int, show: bool, done: Callable[[Job], None]) -> None:
    if jobs == 1:
        for job in missing:
            run_job(job, data, show)
            done(job)
    elif missing:
        with executor(min(jobs, len(missing))) as pool:
            started = {pool.submit(run_job, job, data, False): job for job in missing}
            for future in as_completed(started):
                future.result()
                done(started[future])


def run_job(job: Job, data: str, show: bool) -> None:
    """One training, from where it stopped, and its evaluation on the test part of `data`."""
    begun = holds_run(job.folder)
    if not begun:
        with held(job.folder, "the run"):
            shutil.rmtree(job.folder)
    if show:
        say(f"{job.label}: {job.folder}")
    try:
        train(job.config, job.folder, resume=begun, show=show, final_table=False)
        model = model_of(load_checkpoint(job.folder / "best.pt")).requires_grad_(False)
        write_evaluation(job.folder, evaluate(model, Dataset.read(find_dataset(data)), data))
    except UserError as error:
        raise UserError(f"{job.label}: {error}") from error


def _check_same(job: Job) -> None:
    """Refuse a run of another configuration before anything is trained."""
    if not holds_run(job.folder):
        return
    old, new = read_yaml(job.folder / "config.yaml", "configuration", "hesspot train"), job.config.model_dump()
    free = set(FREE_KEYS)
    if "model" not in job.config.model_fields_set:
        free.add("model")  # a run that starts from another takes its shape
    changed = [key for key, value in new.items() if key not in free and old.get(key) != value]
    if changed:
        raise UserError(
            f"the run in {job.folder} was made with another configuration ({', '.join(changed)} differ); "
            "take the old one, delete the run, or choose another --out"
        )
