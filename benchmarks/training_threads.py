"""What a second thread brings to a training step, with batches of 8 and of 32 structures, in one run.

    OMP_NUM_THREADS=1 python benchmarks/training_threads.py

A thousand structures of 14 atoms as in large_training.py, the default model. Epochs with one thread and with two take
turns; the smallest time of each by the clock is taken.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from pathlib import Path

import torch
from large_training import write_sets

from hesspot.training.config import parse_config
from hesspot.training.trainer import Trainer

MODES = {"E-F": "ef", "E-F-H, one direction": "efh"}
BATCHES = (8, 32)
THREADS = (1, 2)


def seconds(data: Path, mode: str, batch_size: int, rounds: int) -> list[float]:
    """Of an epoch with each number of threads."""
    keys = {"data": str(data), "mode": mode, "optimizer": {"batch_size": batch_size}}
    trainers = [Trainer(parse_config({**keys, "threads": threads}, mode)) for threads in THREADS]
    best = [math.inf] * len(trainers)
    for _ in range(rounds):
        for place, trainer in enumerate(trainers):
            start = time.perf_counter()
            trainer.train_epoch()
            best[place] = min(best[place], time.perf_counter() - start)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--structures", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=6)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| way | batch | seconds, one thread | two threads | times faster |")
    print("| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as name:
        write_sets(Path(name), options.structures)
        for way, mode in MODES.items():
            for batch_size in BATCHES:
                one, two = seconds(Path(name) / "all.h5", mode, batch_size, options.rounds)
                print(f"| {way} | {batch_size} | {one:.2f} | {two:.2f} | {one / two:.2f} |", flush=True)


if __name__ == "__main__":
    main()
