"""Cost of a training step with Hessians, and of committees, relative to energies and forces alone, in one run.

    OMP_NUM_THREADS=1 python benchmarks/training_cost.py

The training structures of a set, the default model and batch size. The ways are timed in turn, epoch by epoch, by the
processor time of this process; the smallest epoch of each counts, since whatever else a machine does only adds. Peak
memory is that of a process of its own. The second table is that of the kernel alone: gradients of the loss with
respect to the weights of one batch, in evaluations of its forces.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from hesspot.data.sources import read_data
from hesspot.kernel import KernelModel
from hesspot.kernel.house_training import TrainedHouse
from hesspot.kernel.labelled import Labelled
from hesspot.models.flat_weights import FlatWeights
from hesspot.training.config import parse_config
from hesspot.training.samples import join_samples
from hesspot.training.trainer import Trainer

#: Structures whose gradients are compared with force calls.
BATCH = 8

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
    "E-F, torch, AdamW": {"mode": "ef", "backend": "torch", "optimizer": {"method": "adamw"}},
    "E-F, torch": {"mode": "ef", "backend": "torch"},
    "E-F-H, one direction, torch": {"mode": "efh", "backend": "torch"},
    "E-F-H, full Hessians, torch": {"mode": "efh", "hessian": {"sampling": "full"}, "backend": "torch"},
}


def make_trainer(way: str, data: str) -> Trainer:
    return Trainer(parse_config({"data": data, **WAYS[way]}, way))


def print_peak_memory(way: str, data: str) -> None:
    """Peak memory of this process after one epoch, MiB."""
    make_trainer(way, data).train_epoch()
    status = Path("/proc/self/status").read_text()
    print(int(status.split("VmHWM:")[1].split()[0]) / 1024)


def print_force_calls(data: str, rounds: int) -> None:
    """What the kernel takes for the gradient of the loss of the first batch, in calls that give its forces."""
    training = Trainer(parse_config({"data": data, "mode": "ef"}, data))
    trained = TrainedHouse(training.model, FlatWeights(training.model.parameters(), training.model.matrices()))
    kernel, samples = KernelModel.of(training.model), training.data.training[:BATCH]
    batch = join_samples(samples)
    edges = kernel.edges(batch.species, batch.centers, batch.neighbors)
    directions = [torch.randn(2, 3 * sample.graph.n_atoms).double() for sample in samples]

    def gradient(n_directions: int) -> Callable[[], object]:
        structures = (Labelled * len(samples))(*(sample.laid_out.values for sample in samples))
        for one, drawn in zip(structures, directions, strict=True):
            one.of_energy = one.of_forces = one.of_hessian = one.direction_share = 1.0
            one.n_directions, one.directions, one.products = n_directions, drawn[0].data_ptr(), drawn[1].data_ptr()
        return lambda: trained.add_loss_gradient(structures, 10**6)

    ways = {"forces": lambda: edges.evaluate(batch.vectors), "E-F": gradient(0), "E-F-H, one direction": gradient(1)}
    times = dict.fromkeys(ways, math.inf)
    for _ in range(20 * rounds):
        for way, function in ways.items():
            start = time.perf_counter()
            function()
            times[way] = min(times[way], time.perf_counter() - start)
    print(f"\n| kernel, {batch.n_atoms} atoms | µs per atom | force calls |\n| --- | --- | --- |")
    for way, seconds in times.items():
        print(f"| {way} | {1e6 * seconds / batch.n_atoms:.1f} | {seconds / times['forces']:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", default="shipped:reactive_chno", help="dataset file or shipped:NAME")
    parser.add_argument("--memory-of", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        print_peak_memory(options.memory_of, options.data)
        return
    has_hessians = any(record.hessian is not None for record in read_data(options.data).records)
    ways = [way for way, keys in WAYS.items() if has_hessians or keys["mode"] != "efh"]
    times: dict[str, list[float]] = {way: [] for way in ways}
    trainers = {way: make_trainer(way, options.data) for way in ways}
    for _ in range(options.rounds):
        for way, trainer in trainers.items():
            start = time.process_time()
            trainer.train_epoch()
            times[way].append(time.process_time() - start)
    print("| way | processor seconds per epoch | relative to E-F | peak memory, MiB |")
    print("| --- | --- | --- | --- |")
    for way, values in times.items():
        command = [sys.executable, __file__, "--data", options.data, "--memory-of", way]
        memory = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(f"| {way} | {min(values):.3f} | {min(values) / min(times['E-F']):.2f} | {memory:.0f} |")
    print_force_calls(options.data, options.rounds)


if __name__ == "__main__":
    main()
