"""Whether `hesspot monitor` keeps up with a large run: seconds per frame and peak memory on one core, beside LAMMPS.

    OMP_NUM_THREADS=1 python benchmarks/monitor_speed.py --out monitor-speed

runs the water box of examples/lammps, repeated 8 times each way to 98304 atoms, for a few steps on two ranks, watches
the dump on one core afterwards, and sets the seconds of a frame beside those of 1000 steps. Prints a table of Markdown.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from hesspot.console import say
from hesspot.lammps import run_lammps

ROOT = Path(__file__).parents[1]

INPUT = """units           metal
atom_style      atomic
read_data       water.data
replicate       {repeat} {repeat} {repeat}
pair_style      hesspot
pair_coeff      * * {model} O H
neighbor        1.0 bin
neigh_modify    every 1 delay 0 check yes
velocity        all create 300.0 4711 loop geom
timestep        0.0005
fix             1 all nve
dump            1 all custom {steps} run.dump id element x y z fx fy fz vx vy vz
dump_modify     1 element O H format float %.10g units yes
thermo          {steps}
run             {steps}
"""

#: Steps between two frames of the run that is to be watched.
STRIDE = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--repeat", type=int, default=8)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--model", default="shipped:water")
    parser.add_argument("--lowest", type=int, default=20, help="Lanczos steps")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True)
    shutil.copy(ROOT / "examples/lammps/water.data", asked.out)
    script = INPUT.format(repeat=asked.repeat, steps=asked.steps, model=asked.model)
    ended = run_lammps(script, asked.ranks, asked.out)
    if ended.returncode:
        raise SystemExit(ended.stdout)
    loop = re.search(r"Loop time of (\S+) on \d+ procs for \d+ steps with (\d+) atoms", ended.stdout)
    assert loop is not None
    seconds, atoms = STRIDE * float(loop[1]) / asked.steps, int(loop[2])
    say("| asked | s per frame | peak memory, GB | time of 1000 steps over that of a frame |")
    say("| --- | --- | --- | --- |")
    for name, words in (
        ("all but the lowest curvature", []),
        (f"all, --lowest {asked.lowest}", ["--lowest", str(asked.lowest)]),
    ):
        frame, memory = watched(asked.out, asked.model, words)
        say(f"| {name} | {frame:.1f} | {memory:.2f} | {seconds / frame:.1f} |")
    say(f"{atoms} atoms; {STRIDE} steps on {asked.ranks} ranks take {seconds:.0f} s at the speed of {asked.steps}")


def watched(folder: Path, model: str, words: list[str]) -> tuple[float, float]:
    """Seconds of the last frame, and GB of the process at its largest."""
    out = folder / f"watch{''.join(words)}"
    command = [sys.executable, "-m", "hesspot", "monitor", model, "run.dump", "--once", "--out", str(out.name), *words]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} ended with status {status}")
    rows = [json.loads(line) for line in (out / "frames.jsonl").read_text().splitlines()[1:]]
    return rows[-1]["seconds"], usage.ru_maxrss / 1e6


if __name__ == "__main__":
    main()
