"""What an epoch of each arm costs: time, measured in turn in one process, and memory, each in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hesspot.console import Progress
from hesspot.pool import executor
from hesspot.study.csv_tables import read_rows, write_rows
from hesspot.training.config import TrainingConfig
from hesspot.training.trainer import Trainer, torch_threads

FILE = "cost.csv"


@dataclass(frozen=True)
class Cost:
    """Cost of one arm with all its data.

    seconds: shortest epoch; peak_memory: of a process that trains one epoch, MiB; training_memory: what it rose by
    during that epoch, MiB.
    """

    arm: str
    seconds: float
    peak_memory: float
    training_memory: float


def measure_cost(
    configs: Mapping[str, TrainingConfig], folder: str | Path, epochs: int, *, show: bool = False
) -> list[Cost]:
    """Time `epochs` epochs of every arm, epoch by epoch in turn, and measure memory; writes cost.csv.

    The shortest epoch counts: whatever else a machine does only adds.
    """
    folder = Path(folder)
    times: dict[str, list[float]] = {arm: [] for arm in configs}
    costs = []
    with Progress("costs", (epochs + 1) * len(configs), show=show) as progress:
        trainers = {arm: Trainer(config) for arm, config in configs.items()}
        for _ in range(epochs):
            for arm, trainer in trainers.items():
                with torch_threads(trainer.config.threads):
                    start = time.perf_counter()
                    trainer.train_epoch()
                    times[arm].append(time.perf_counter() - start)
                progress.advance(note=f"{arm}: {times[arm][-1]:.3g} s")
        for arm, config in configs.items():
            with executor(1) as pool:
                costs.append(Cost(arm, min(times[arm]), *pool.submit(memory_of_epoch, config).result()))
            progress.advance(note=f"{arm}: {costs[-1].peak_memory:.0f} MiB")
    write_rows(folder / FILE, Cost, costs)
    return costs


def memory_of_epoch(config: TrainingConfig) -> tuple[float, float]:
    """Peak memory of this process after one epoch of training, and how much of it came with the epoch, MiB."""
    with torch_threads(config.threads):
        trainer = Trainer(config)
        before = _memory("VmRSS")
        trainer.train_epoch()
    return _memory("VmHWM"), _memory("VmHWM") - before


def _memory(key: str) -> float:
    """An entry of Linux's own account of this process, MiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{key}:")[1].split()[0]) / 1024


def read_cost(folder: str | Path) -> list[Cost] | None:
    """The costs measured in a study's folder; None if they were not."""
    folder = Path(folder)
    return read_rows(folder / FILE, Cost) if (folder / FILE).exists() else None
