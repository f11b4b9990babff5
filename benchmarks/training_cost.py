"""Cost of a training step with Hessians, and of committees, relative to energies and forces alone, in one run.

    OMP_NUM_THREADS=1 python benchmarks/training_cost.py

The shipped set, the default model and batch size. The ways are timed in turn, epoch by epoch, by the processor time of
this process; the smallest epoch of each counts, since whatever else a machine does only adds. Peak memory is that of
a process of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from hesspot.training.config import parse_config
from hesspot.training.trainer import Trainer

DATA = "shipped:small_chno"
WAYS = {
    "E-F": {"mode": "ef"},
    "E-F-H, one direction": {"mode": "efh"},
    "E-F-H, one row": {"mode": "efh", "hessian": {"sampling": "rows"}},
    "E-F-H, full Hessians": {"mode": "efh", "hessian": {"sampling": "full"}},
    "E-F, AdamW": {"mode": "ef", "optimizer": {"method": "adamw"}},
    "E-F-H, one direction, AdamW": {"mode": "efh", "optimizer": {"method": "adamw"}},
    "E-F-H, full Hessians, AdamW": {"mode": "efh", "hessian": {"sampling": "full"}, "optimizer": {"method": "adamw"}},
    "E-F, committee of four": {"mode": "ef", "model": {"members": 4}},
    "E-F-H, one direction, committee of four": {"mode": "efh", "model": {"members": 4}},
    "E-F, torch": {"mode": "ef", "backend": "torch"},
    "E-F-H, one direction, torch": {"mode": "efh", "backend": "torch"},
    "E-F-H, full Hessians, torch": {"mode": "efh", "hessian": {"sampling": "full"}, "backend": "torch"},
}


def make_trainer(way: str) -> Trainer:
    return Trainer(parse_config({"data": DATA, **WAYS[way]}, way))


def print_peak_memory(way: str) -> None:
    """Peak memory of this process after one epoch, MiB."""
    make_trainer(way).train_epoch()
    status = Path("/proc/self/status").read_text()
    print(int(status.split("VmHWM:")[1].split()[0]) / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory-of", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        print_peak_memory(options.memory_of)
        return
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    trainers = {way: make_trainer(way) for way in WAYS}
    for _ in range(options.rounds):
        for way, trainer in trainers.items():
            start = time.process_time()
            trainer.train_epoch()
            times[way].append(time.process_time() - start)
    print("| way | processor seconds per epoch | relative to E-F | peak memory, MiB |")
    print("| --- | --- | --- | --- |")
    for way, values in times.items():
        command = [sys.executable, __file__, "--memory-of", way]
        memory = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(f"| {way} | {min(values):.3f} | {min(values) / min(times['E-F']):.2f} | {memory:.0f} |")


if __name__ == "__main__":
    main()
