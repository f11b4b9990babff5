"""Time of an epoch of a set of the size of published ones, on one core and on two, and its memory.

    OMP_NUM_THREADS=1 python benchmarks/large_training.py --folder /tmp/large

Structures of 14 atoms: pairs of molecules of the shipped set grown_chno, displaced at random. Their labels, energies,
forces and one product of the Hessian each, are those of shipped:grown, since only the cost is asked for.
The default model and batch size; the first epoch of each way, in a process of its own. PyTorch trains on a tenth.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from ase import Atoms

from hesspot.contract import build_batch
from hesspot.data import Dataset, Record
from hesspot.data.sources import read_data
from hesspot.derivatives import evaluate, hvp
from hesspot.export import read_model
from hesspot.models.shipped import find_model
from hesspot.training.config import parse_config
from hesspot.training.trainer import Trainer

MODEL = find_model("shipped:grown")
ATOMS = 7
APART = 3.0  # Å, between the boxes around two molecules
DISPLACEMENT = 0.05  # Å
AT_ONCE = 500
VALIDATED = 1000  # of as many structures one

WAYS = {
    "E-F": ({"mode": "ef"}, "all", 1),
    "E-F, two threads": ({"mode": "ef", "threads": 2}, "all", 2),
    "E-F-H, one direction": ({"mode": "efh"}, "all", 1),
    "E-F-H, one direction, two threads": ({"mode": "efh", "threads": 2}, "all", 2),
    "E-F, a tenth": ({"mode": "ef"}, "tenth", 1),
    "E-F-H, one direction, a tenth": ({"mode": "efh"}, "tenth", 1),
    "E-F, a tenth, PyTorch": ({"mode": "ef", "backend": "torch"}, "tenth", 1),
    "E-F-H, one direction, a tenth, PyTorch": ({"mode": "efh", "backend": "torch"}, "tenth", 1),
}


def make_pair(molecules: list[Atoms], random: np.random.Generator) -> Atoms:
    first, second = (molecules[i].copy() for i in random.choice(len(molecules), 2, replace=False))
    second.positions[:, 0] += first.positions[:, 0].max() - second.positions[:, 0].min() + APART
    pair = first + second
    pair.positions += random.normal(scale=DISPLACEMENT, size=pair.positions.shape)
    return pair


def write_sets(folder: Path, count: int) -> None:
    model, random = read_model(MODEL), np.random.default_rng(0)
    molecules = [r.atoms_only() for r in read_data("shipped:grown_chno").records if len(r.numbers) == ATOMS]
    records: list[Record] = []
    while len(records) < count:
        pairs = [make_pair(molecules, random) for _ in range(min(AT_ONCE, count - len(records)))]
        batch = build_batch(pairs, model.elements, model.cutoff)
        directions = torch.from_numpy(random.choice([-1.0, 1.0], size=(batch.n_atoms, 3)))
        found, products = evaluate(model, batch), hvp(model, batch, directions)
        for i, atoms in enumerate(pairs):
            own = slice(2 * ATOMS * i, 2 * ATOMS * (i + 1))
            records.append(
                Record(
                    atoms.numbers,
                    atoms.positions,
                    f"pair {len(records)}",
                    energy=float(found.energy[i]),
                    forces=found.forces[own].numpy(),
                    directions=directions[own].numpy()[None],
                    products=products[own].numpy()[None],
                    part="valid" if len(records) % VALIDATED == 0 else "train",
                )
            )
    Dataset(records, "grown.pt").write(folder / "all.h5")
    Dataset(records[: count // 10], "grown.pt").write(folder / "tenth.h5")


def measure(folder: Path, way: str) -> None:
    """One epoch in this process."""
    keys, part, threads = WAYS[way]
    torch.set_num_threads(threads if keys.get("backend") == "torch" else 1)
    trainer = Trainer(parse_config({"data": str(folder / f"{part}.h5"), **keys}, way))
    start, processor = time.perf_counter(), time.process_time()
    trainer.train_epoch()
    seconds, processor = time.perf_counter() - start, time.process_time() - processor
    memory = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
    print(json.dumps([seconds, processor, memory, len(trainer.data.training)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", type=int, default=35_000)
    parser.add_argument("--folder", type=Path, required=True, help="of the sets, which are made if they are not there")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        return measure(options.folder, options.way)
    options.folder.mkdir(parents=True, exist_ok=True)
    if not (options.folder / "tenth.h5").exists():
        write_sets(options.folder, options.structures)
    print("| way | structures | seconds | processor seconds | µs per atom | peak memory, MiB |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    for way in WAYS:
        command = [sys.executable, __file__, "--folder", str(options.folder), "--way", way]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
        seconds, processor, memory, count = json.loads(told.splitlines()[-1])
        each = 1e6 * processor / (count * 2 * ATOMS)
        print(f"| {way} | {count} | {seconds:.1f} | {processor:.1f} | {each:.0f} | {memory:.0f} |", flush=True)
    return None


if __name__ == "__main__":
    main()
