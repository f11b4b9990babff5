"""Memory and time of `hesspot data convert`, `info`, `check` and `hesspot train` on a set larger than that memory.

    python benchmarks/big_sets.py --gigabytes 5 --folder /tmp/big

A stacked HDF5 of whole Hessians (as published sets have them) is made from displaced molecules with labels of a
harmonic potential; each command runs in a process of its own, whose largest resident memory the kernel tells.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import yaml
from ase.build import molecule

BLOCK = 256


def write_source(path: Path, gigabytes: float, molecules: int) -> int:
    """Stacks of benzene molecules, displaced; harmonic around the start."""
    base = molecule("C6H6")
    numbers = np.tile(base.numbers, molecules)
    start = np.concatenate([base.positions + np.array([0.0, 0.0, 3.6 * i]) for i in range(molecules)])
    n = len(numbers)
    rng = np.random.default_rng(0)
    spread = np.linalg.norm(start[:, None] - start[None], axis=-1)
    springs = np.where((spread > 0) & (spread < 1.6), 30.0, 0.02 * (spread > 0))
    hessian = np.zeros((n, 3, n, 3))
    for i in range(n):
        for j in range(n):
            if i != j:
                unit = (start[j] - start[i]) / spread[i, j]
                block = springs[i, j] * np.outer(unit, unit)
                hessian[i, :, j] -= block
                hessian[i, :, i] += block
    flat = hessian.reshape(3 * n, 3 * n)
    count = int(gigabytes * 1e9 / flat.nbytes)
    with h5py.File(path, "w") as file:
        file["numbers"] = numbers
        arrays = {
            name: file.create_dataset(name, (count, *shape), dtype=np.float64)
            for name, shape in (("positions", (n, 3)), ("energy", ()), ("forces", (n, 3)), ("hessian", (3 * n, 3 * n)))
        }
        for first in range(0, count, BLOCK):
            size = min(BLOCK, count - first)
            steps = 0.03 * rng.normal(size=(size, 3 * n))
            forces = -steps @ flat
            noise = 1e-3 * rng.normal(size=(size, 3 * n, 3 * n))
            rows = slice(first, first + size)
            arrays["positions"][rows] = start + steps.reshape(size, n, 3)
            arrays["forces"][rows] = forces.reshape(size, n, 3)
            arrays["energy"][rows] = -12500.0 - 0.5 * (forces * steps).sum(1)
            arrays["hessian"][rows] = flat + 0.5 * (noise + noise.transpose(0, 2, 1))
    return count


def run(name: str, *arguments: str) -> None:
    """A command in a process of its own: its time, and its largest resident memory."""
    begun = time.perf_counter()
    command, environment = [sys.executable, "-m", "hesspot", *arguments], {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - begun
    print(
        f"{name:10} {usage.ru_maxrss / 1024:7.0f} MiB {seconds:8.0f} s  exit {os.waitstatus_to_exitcode(status)}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=1.0, help="of whole Hessians in the source")
    parser.add_argument("--molecules", type=int, default=2, help="benzene molecules in each structure, of 12 atoms")
    parser.add_argument("--folder", type=Path, required=True, help="is made, and removed at the end")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    folder.mkdir(parents=True)
    try:
        count = write_source(folder / "source.h5", arguments.gigabytes, arguments.molecules)
        atoms = 12 * arguments.molecules
        print(f"{count} structures of {atoms} atoms, {arguments.gigabytes:g} GB of Hessians", flush=True)
        data, config = folder / "data.h5", folder / "config.yaml"
        split = ["--split", "0.98,0.01,0.01", "--split-by", "structure", "--level", "springs", "--no-unit-check"]
        run("convert", "data", "convert", str(folder / "source.h5"), "--out", str(data), *split)
        run("info", "data", "info", str(data))
        run("check", "data", "check", str(data))
        settings = {
            "data": str(data),
            "mode": "efh",
            "model": {"cutoff": 3.0, "n_radial": 3, "n_channels": 2, "hidden": [4]},
            "optimizer": {"epochs": 1, "batch_size": 16},
        }
        config.write_text(yaml.safe_dump(settings))
        run("train", "train", str(config), "--out", str(folder / "run"))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
