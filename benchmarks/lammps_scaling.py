"""Strong and weak scaling of a step in LAMMPS, memory of 10⁵ atoms, and what that gives on many ranks.

    OMP_NUM_THREADS=1 python benchmarks/lammps_scaling.py MODEL.pt --ranks 1 2

MODEL.pt: an exported model with O and H. The system is `examples/lammps/water.data`, repeated. The last table is a
model of the time of a step, whose terms are measured here; only the network is assumed (--latency, --bandwidth).
"""

from __future__ import annotations

import argparse
import math
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hesspot.export import read_model
from hesspot.lammps import build_plugin, find_environment, lammps_environ, mpirun_command

DATA = Path(__file__).parents[1] / "examples" / "lammps" / "water.data"
SKIN = 1.0  # Å
REBUILD = 10  # steps
BYTES = 24  # of a ghost atom in one direction: three numbers

SCRIPT = """units metal
atom_style atomic
read_data "{data}"
replicate {repeat}
pair_style hesspot precision {precision}
pair_coeff * * "{model}" O H
neighbor {skin} bin
neigh_modify every {rebuild} delay 0 check no
velocity all create 300 1 loop geom
fix 1 all nve
timestep 0.0005
thermo 1000000
run {rebuild}
run {steps}
write_dump all custom end.dump xs ys zs
"""

PING_PONG = """
import time
import numpy as np
from mpi4py import MPI
comm = MPI.COMM_WORLD
for size in (8, 1 << 20):
    data, best = np.zeros(size // 8), 1e9
    for _ in range(20):
        comm.Barrier()
        start = time.perf_counter()
        for _ in range(50):
            comm.Send(data, 1 - comm.rank) if comm.rank == 0 else comm.Recv(data, 0)
            comm.Recv(data, 1) if comm.rank == 0 else comm.Send(data, 0)
        best = min(best, (time.perf_counter() - start) / 100)
    if comm.rank == 0:
        print(best)
"""


@dataclass(frozen=True)
class Step:
    """Times of a step, s: all, and of LAMMPS's parts (mean over ranks); busy: the part of them in which the processes
    ran; n_local, n_ghost of a rank; memory of all ranks together at its highest, bytes."""

    ranks: int
    n_atoms: int
    total: float
    pair: float
    neighbor: float
    comm: float
    busy: float
    n_local: float
    n_ghost: float
    memory: float


def step(folder: Path, model: Path, ranks: int, repeat: tuple[int, int, int], steps: int, precision: str) -> Step:
    """Runs LAMMPS and reads its table of times."""
    script = folder / "in.scaling"
    script.write_text(
        SCRIPT.format(
            data=DATA,
            repeat=" ".join(map(str, repeat)),
            model=model,
            steps=steps,
            precision=precision,
            skin=SKIN,
            rebuild=REBUILD,
        )
    )
    environment = find_environment()
    token = uuid.uuid4().hex
    environ = {**lammps_environ(environment, build_plugin(environment)), "HESSPOT_BENCHMARK": token}
    command = mpirun_command(environment, ranks, script, ["-log", "none"])
    process = subprocess.Popen(command, cwd=folder, env=environ, stdout=subprocess.PIPE, text=True)
    highest: dict[int, int] = {}
    watcher = threading.Thread(target=watch_memory, args=(process, token.encode(), highest))
    watcher.start()
    output = process.communicate()[0]
    watcher.join()
    loops = re.findall(r"Loop time of (\S+) on \d+ procs for \d+ steps with (\d+) atoms", output)
    if process.returncode != 0 or len(loops) != 2:
        raise SystemExit(output[-2000:])
    table = output[output.rindex("Loop time of") :]

    def part(name: str) -> float:
        found = re.search(rf"^{name}\s*\|(.*)$", table, re.MULTILINE)
        assert found is not None
        return float(found.group(1).split("|")[1]) / steps

    def count(name: str) -> float:
        found = re.search(rf"^{name}:\s*(\S+) ave", table, re.MULTILINE)
        assert found is not None
        return float(found.group(1))

    return Step(
        ranks,
        int(loops[1][1]),
        float(loops[1][0]) / steps,
        part("Pair"),
        part("Neigh"),
        part("Comm"),
        float(re.findall(r"(\S+)% CPU use", output)[1]) / 100,
        count("Nlocal"),
        count("Nghost"),
        sum(highest.values()),
    )


def watch_memory(process: subprocess.Popen[str], token: bytes, highest: dict[int, int]) -> None:
    """Keeps the resident memory (bytes) at its highest of each process lmp that has `token` in its environment."""
    while process.poll() is None:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if (folder / "comm").read_text().strip() != "lmp" or token not in (folder / "environ").read_bytes():
                    continue
                told = re.search(r"VmHWM:\s*(\d+) kB", (folder / "status").read_text())
            except OSError:
                continue
            if told:
                highest[int(folder.name)] = 1024 * int(told.group(1))
        time.sleep(0.2)


def ping_pong() -> tuple[float, float]:
    """Latency (s) and time of a byte (s) between two ranks of this machine."""
    environment = find_environment()
    command = [str(environment.mpirun), "-n", "2", sys.executable, "-c", PING_PONG]
    small, large = map(float, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    return small, (large - small) / (1 << 20)


def imbalance(folder: Path, side: int = 10) -> tuple[float, float]:
    """Of side³ equal bricks in the last structure: mean number of atoms, and that of the fullest over it."""
    places = np.loadtxt(folder / "end.dump", skiprows=9) % 1.0
    bricks = np.minimum((places * side).astype(int), side - 1) @ [side * side, side, 1]
    counts = np.bincount(bricks, minlength=side**3)
    return float(counts.mean()), float(counts.max() / counts.mean())


@dataclass(frozen=True)
class CostModel:
    """t = imbalance · pair · n + neighbor · (n + g)/REBUILD + copy · g + messages · latency + 2 · 24 B · g · byte

    with n atoms and g ghosts on a rank. pair, neighbor, copy: s per atom; latency: s; byte: s per byte; reach: Å;
    density: atoms per Å³.
    """

    pair: float
    neighbor: float
    copy: float
    latency: float
    byte: float
    reach: float
    density: float

    def ghosts(self, n: float) -> float:
        edge = (n / self.density) ** (1 / 3)
        return self.density * ((edge + 2 * self.reach) ** 3 - edge**3)

    def seconds(self, n: float, uneven: float) -> dict[str, float]:
        """The terms for n atoms per rank, the fullest having `uneven` times as many."""
        ghosts = self.ghosts(n)
        swaps = math.ceil(self.reach / (n / self.density) ** (1 / 3))
        messages = 2 * 6 * swaps
        return {
            "compute": self.pair * n * uneven,
            "lists": self.neighbor * (n + ghosts) / REBUILD,
            "halo": self.copy * ghosts,
            "messages": messages * self.latency + 2 * BYTES * ghosts * self.byte,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeat", type=int, default=3, help="boxes of 192 atoms each way for the small system")
    parser.add_argument("--large", type=int, default=8, help="boxes each way for the large system; 8: 98304 atoms")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3, help="the smallest of so many times is taken")
    parser.add_argument("--precision", choices=["double", "single"], default="double")
    parser.add_argument("--latency", type=float, default=2e-6, help="s, of the network to be modelled")
    parser.add_argument("--bandwidth", type=float, default=4e8, help="bytes/s and rank, of the network to be modelled")
    options = parser.parse_args()
    model, side = options.model.absolute(), options.repeat
    cutoff = read_model(model).cutoff

    with tempfile.TemporaryDirectory(prefix="hesspot-scaling-") as name:
        folder = Path(name)

        def best(ranks: int, repeat: tuple[int, int, int], steps: int = options.steps) -> Step:
            rounds = [step(folder, model, ranks, repeat, steps, options.precision) for _ in range(options.rounds)]
            return min(rounds, key=lambda one: one.total)

        strong = [best(ranks, (side, side, side)) for ranks in options.ranks]
        weak = [best(ranks, (side, side, side * ranks)) for ranks in options.ranks]
        print(f"cutoff {cutoff:g} Å, skin {SKIN:g} Å, {options.precision} precision, lists every {REBUILD} steps;")
        print(f"{os.cpu_count()} cores; smallest of {options.rounds} rounds; ms per step\n")
        print(
            "| | ranks | atoms | step | pair | lists | communication, waiting | busy | ghosts per rank | efficiency |"
        )
        print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
        for label, runs in (("strong", strong), ("weak", weak)):
            for run in runs:
                ideal = runs[0].total * (runs[0].ranks / run.ranks) * (run.n_atoms / runs[0].n_atoms)
                cells = [1e3 * t for t in (run.total, run.pair, run.neighbor, run.comm)]
                numbers = " | ".join(f"{cell:.2f}" for cell in cells)
                efficiency = ideal / run.total
                rest = f"{run.busy:.2f} | {run.n_ghost:.0f} | {efficiency:.2f}"
                print(f"| {label} | {run.ranks} | {run.n_atoms} | {numbers} | {rest} |")

        large = step(folder, model, max(options.ranks), (options.large,) * 3, REBUILD, options.precision)
        per_atom = 1e6 * large.total * large.ranks / large.n_atoms
        print(
            f"\n{large.n_atoms} atoms on {large.ranks} ranks: {per_atom:.1f} µs of a rank per atom and step; "
            f"{large.memory / 2**30:.2f} GB of memory in all at its highest"
        )

        one = strong[0]
        volume = float(re.findall(r"([\d.]+) xlo xhi", DATA.read_text())[0]) ** 3
        density = 192 / volume
        latency, byte = ping_pong()
        terms = {
            "pair": one.busy * one.pair / one.n_local,
            "neighbor": one.busy * one.neighbor * REBUILD / (one.n_local + one.n_ghost),
            "copy": one.busy * one.comm / one.n_ghost,
        }
        reach = cutoff + SKIN
        here = CostModel(**terms, latency=latency, byte=byte, reach=reach, density=density)
        there = CostModel(**terms, latency=options.latency, byte=1 / options.bandwidth, reach=reach, density=density)
        print(
            f"\nmeasured: pair {1e6 * here.pair:.2f}, lists {1e6 * here.neighbor:.3f} per rebuild, halo copy "
            f"{1e6 * here.copy:.4f} µs per atom; between ranks here {1e6 * latency:.2f} µs and {1e-9 / byte:.1f} GB/s; "
            f"to be modelled {1e6 * options.latency:.2f} µs and {1e-9 * options.bandwidth:.1f} GB/s"
        )
        for run in strong[1:]:
            told = here.seconds(run.n_local, 1.0)
            print(
                f"the model's {run.ranks} ranks: {1e3 * sum(told.values()):.2f} ms, measured {1e3 * run.total:.2f} ms"
            )

        titles = "atoms | ranks | each | ghosts | fullest | compute | lists | halo | messages | steps/s | share"
        print(f"\n| {titles} |")
        print("|" + " --- |" * 11)
        per_brick, fullest = imbalance(folder)
        for n_atoms in (100_000, 1_000_000, 10_000_000):
            for ranks in (64, 512, 1000):
                n = n_atoms / ranks
                uneven = 1 + (fullest - 1) * math.sqrt(per_brick / n)
                parts = there.seconds(n, uneven)
                shown = " | ".join(f"{1e3 * value:.2f}" for value in parts.values())
                total = sum(parts.values())
                print(
                    f"| {n_atoms:.0e} | {ranks} | {n:.0f} | {there.ghosts(n):.0f} | {uneven:.2f} | {shown} | "
                    f"{1 / total:.1f} | {there.pair * n / total:.2f} |"
                )


if __name__ == "__main__":
    main()
