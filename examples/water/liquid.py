"""Liquid water at 300 K: the model in LAMMPS beside the method of its labels.

    python examples/water/liquid.py --out liquid-out

64 molecules in LAMMPS (`pair_style hesspot`): 5 ps with a Langevin thermostat from a lattice, 20 ps at constant volume
and temperature (Nosé-Hoover), 10 ps at constant energy. 32 molecules with GFN1-xTB itself (Langevin), from a box that
the model has brought to equilibrium. Writes rdf.png, rdf.csv and figures.json, and ends with status 1 if the model's
run is not sound. What is finished in OUT is not done again; --reference-steps may be raised later.
"""

import argparse
import csv
import json
import sys
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.geometry.rdf import get_rdf
from ase.io.trajectory import Trajectory
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from matplotlib.figure import Figure

from hesspot.analysis import drift
from hesspot.analysis.run_output import read_lammps_thermo
from hesspot.lammps.run import error_of, run_lammps
from hesspot.lammps.structure import write_data
from hesspot.models.shipped import find_model
from hesspot.reference.tblite_labels import TbliteMethod

METHOD = TbliteMethod(method="GFN1-xTB")
ELEMENTS = ["O", "H"]
TEMPERATURE = 300.0
DENSITY = 0.997
#: ps, of the stages with the model, and its time step in fs.
EQUILIBRATION, CONSTANT_TEMPERATURE, CONSTANT_ENERGY, TIMESTEP = 5.0, 20.0, 10.0, 0.5
#: fs, between frames in LAMMPS and of the time step of the reference; its frames are 5 steps apart.
FRAME, REFERENCE_TIMESTEP, REFERENCE_EVERY = 20.0, 1.0, 5
#: The part of the reference run that is left out of its distribution functions.
DISCARD = 0.2
BINS = 120
#: A sound run: drift of what Nosé-Hoover conserves (meV per atom over the run), mean temperature (K), longest O-H (Å).
MAX_DRIFT, MAX_HEATING, MAX_BOND = 1.0, 5.0, 1.5

INPUT = """\
units         metal
atom_style    atomic
boundary      p p p
read_data     start.data
pair_style    hesspot verify yes
pair_coeff    * * {model} O H
neighbor      1.0 bin
neigh_modify  every 1 delay 0 check yes
thermo_style  custom step temp pe etotal press econserve
thermo_modify format float %.12g
minimize      0.0 0.5 50 200
reset_timestep 0
timestep      {timestep}
velocity      all create {temperature} 4711 mom yes rot no dist gaussian
fix           bath all langevin {temperature} {temperature} 0.1 4712
fix           move all nve
thermo        {every}
run           {equilibration}
unfix         bath
unfix         move
velocity      all zero linear
write_data    equilibrated.data
fix           move all nvt temp {temperature} {temperature} 0.1
dump          frames all custom {every} nvt.lammpstrj id element xu yu zu
dump_modify   frames element O H sort id
run           {constant_temperature}
undump        frames
unfix         move
fix           move all nve
run           {constant_energy}
"""


def packed_box(n_side: int, crystal: str, seed: int) -> Atoms:
    """Molecules turned at random on a cubic lattice."""
    rng = np.random.default_rng(seed)
    lattice = bulk("O", crystal, a=1.0, cubic=True).repeat(n_side)
    mass = len(lattice) * molecule("H2O").get_masses().sum() / units.kg * 1e3
    length = (mass / DENSITY) ** (1 / 3) * 1e8
    box = Atoms(cell=[length] * 3, pbc=True)
    for place in lattice.get_scaled_positions():
        water = molecule("H2O")
        water.rotate(rng.uniform(0, 360), rng.normal(size=3))
        water.positions += place * length
        box += water
    return box


def run_model(model: Path, folder: Path, box: Atoms, ranks: int, long: bool) -> list[Atoms]:
    """Frames of the run at constant temperature; nothing is run if the folder has a finished one."""
    log = folder / "log.lammps"
    if not (log.exists() and "Total wall time" in log.read_text()):
        folder.mkdir(parents=True, exist_ok=True)
        write_data(folder / "start.data", box, ELEMENTS)
        lengths = {
            "equilibration": EQUILIBRATION,
            "constant_temperature": CONSTANT_TEMPERATURE if long else 1.0,
            "constant_energy": CONSTANT_ENERGY if long else 0.0,
        }
        steps = {name: round(1e3 * length / TIMESTEP) for name, length in lengths.items()}
        every = round(FRAME / TIMESTEP)
        text = INPUT.format(model=model, timestep=1e-3 * TIMESTEP, temperature=TEMPERATURE, every=every, **steps)
        ended = run_lammps(text, ranks, folder)
        if ended.returncode:
            sys.exit(f"LAMMPS stopped: {error_of(ended.stdout)}")
    frames = ase.io.read(folder / "nvt.lammpstrj", ":", format="lammps-dump-text")
    for atoms in frames:
        atoms.set_cell(box.cell)
        atoms.pbc = True
    return frames


def run_reference(folder: Path, start: Atoms, steps: int) -> list[Atoms]:
    """Frames of the run with the labels' method, which goes on from its last frame."""
    from tblite.ase import TBLite

    file = folder / "reference.traj"
    done = 0
    if file.exists():
        with Trajectory(file) as earlier:
            done, atoms = REFERENCE_EVERY * (len(earlier) - 1), earlier[-1]
    else:
        atoms = start.copy()
        MaxwellBoltzmannDistribution(atoms, temperature_K=TEMPERATURE, rng=np.random.default_rng(1))
    atoms.calc = TBLite(method=METHOD.method, verbosity=0)
    dynamics = Langevin(
        atoms,
        REFERENCE_TIMESTEP * units.fs,
        temperature_K=TEMPERATURE,
        friction=0.01 / units.fs,
        fixcm=False,
        rng=np.random.default_rng([2, done]),
    )
    with Trajectory(file, "a", atoms, properties=["energy", "forces"]) as frames:
        if not done:
            frames.write()
        while done < steps:
            dynamics.run(REFERENCE_EVERY)
            done += REFERENCE_EVERY
            frames.write()
            print(f"\r{METHOD.method}: {done} of {steps} steps, {atoms.get_temperature():.0f} K", end="", flush=True)
    print()
    return ase.io.read(file, ":")


def distributions(frames: list[Atoms]) -> dict[str, np.ndarray]:
    """r and the partial distribution functions up to half the box."""
    rmax = 0.499 * frames[0].cell.lengths().min()
    bins = round(BINS * rmax / 6.0)
    found: dict[str, list[np.ndarray]] = {"OO": [], "OH": [], "HH": []}
    for atoms in frames:
        distances = atoms.get_all_distances(mic=True)
        for pair, functions in found.items():
            g, r = get_rdf(atoms, rmax, bins, distances, elements=list(pair))
            functions.append(g)
    return {"r": r, **{pair: np.mean(functions, axis=0) for pair, functions in found.items()}}


def first_peak(functions: dict[str, np.ndarray]) -> tuple[float, float]:
    """Place (Å) and height of the first peak of the O-O function, from a parabola through its three highest bins."""
    r, g = functions["r"], functions["OO"]
    window = r < 3.4
    top = int(np.argmax(np.where(window, g, 0.0)))
    a, b, c = np.polyfit(r[top - 1 : top + 2], g[top - 1 : top + 2], 2)
    return float(-b / (2 * a)), float(c - b * b / (4 * a))


def longest_bond(frames: list[Atoms]) -> float:
    """Largest distance of a hydrogen from its nearest oxygen, Å."""
    worst = 0.0
    for atoms in frames:
        distances = atoms.get_all_distances(mic=True)[np.ix_(atoms.numbers == 1, atoms.numbers == 8)]
        worst = max(worst, float(distances.min(axis=1).max()))
    return worst


def figures_of_model(folder: Path, frames: list[Atoms]) -> dict[str, Any]:
    constant_temperature, constant_energy = read_lammps_thermo(folder / "log.lammps")[-2:]
    n = len(frames[0])
    times = constant_temperature["Step"] * TIMESTEP
    conserved = drift.energy_drift(times, constant_temperature["Econserve"], n)
    nve = drift.energy_drift(constant_energy["Step"] * TIMESTEP, constant_energy["TotEng"], n)
    temperature = drift.mean(constant_temperature["Temp"])
    pressure = drift.mean(constant_temperature["Press"])
    return {
        "temperature_K": temperature.value,
        "temperature_error": temperature.error,
        "pressure_bar": pressure.value,
        "pressure_error": pressure.error,
        "nvt_drift_mev_per_atom": 1e3 * conserved.total.value,
        "nve_drift_mev_per_atom_ps": 1e3 * nve.slope.value,
        "nve_drift_error": 1e3 * nve.slope.error,
        "longest_OH_A": longest_bond(frames[::10]),
    }


def plot(path: Path, model: dict[str, np.ndarray], reference: dict[str, np.ndarray], label: str) -> None:
    figure = Figure(figsize=(8.0, 3.2), layout="constrained", dpi=110)
    axes = figure.subplots(1, 2)
    for axis, pair in zip(axes, ("OO", "OH"), strict=True):
        axis.plot(model["r"], model[pair], color="#0072B2", label="model in LAMMPS, 64 molecules, 20 ps")
        axis.plot(reference["r"], reference[pair], color="#D55E00", linewidth=1.0, label=label)
        axis.set(xlabel="r, Å", ylabel=f"g({pair[0]}–{pair[1]})", xlim=(0.8 if pair == "OH" else 2.0, 6.0))
        axis.axhline(1.0, color="0.8", linewidth=0.8, zorder=0)
        axis.spines[["top", "right"]].set_visible(False)
    axes[1].set_ylim(0, 3)
    axes[0].legend(frameon=False, fontsize=8)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="shipped:water", help="model file or shipped:NAME")
    parser.add_argument("--out", type=Path, default=Path("liquid-out"))
    parser.add_argument("--ranks", type=int, default=1, help="MPI ranks of LAMMPS")
    parser.add_argument("--reference-steps", type=int, default=2000, help="of 1 fs, with GFN1-xTB: a second each")
    arguments = parser.parse_args()
    out = arguments.out.absolute()
    model = find_model(arguments.model).absolute()

    frames = run_model(model, out / "model", packed_box(4, "sc", 1), arguments.ranks, long=True)
    figures = figures_of_model(out / "model", frames)
    small = run_model(model, out / "start", packed_box(2, "fcc", 2), arguments.ranks, long=False)
    reference = run_reference(out, small[-1], arguments.reference_steps)
    kept = reference[int(DISCARD * len(reference)) :]
    of_model, of_reference = distributions(frames), distributions(kept)

    picoseconds = 1e-3 * REFERENCE_TIMESTEP * REFERENCE_EVERY * len(kept)
    label = f"{METHOD.method}, 32 molecules, {picoseconds:.1f} ps"
    plot(out / "rdf.png", of_model, of_reference, label)
    with (out / "rdf.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["of", "r", "OO", "OH", "HH"])
        for name, functions in (("model", of_model), ("reference", of_reference)):
            for row in zip(*(functions[key] for key in ("r", "OO", "OH", "HH")), strict=True):
                writer.writerow([name, *(f"{value:.5f}" for value in row)])
    for name, functions in (("model", of_model), ("reference", of_reference)):
        figures[f"{name}_OO_peak_A"], figures[f"{name}_OO_peak_height"] = first_peak(functions)
    figures["reference_ps"] = picoseconds
    figures["reference_temperature_K"] = float(np.mean([atoms.get_temperature() for atoms in kept]))
    (out / "figures.json").write_text(json.dumps(figures, indent=2))
    for name, value in figures.items():
        print(f"{name:28s} {value:.4g}")
    sound = (
        abs(figures["nvt_drift_mev_per_atom"]) < MAX_DRIFT
        and abs(figures["temperature_K"] - TEMPERATURE) < MAX_HEATING
        and figures["longest_OH_A"] < MAX_BOND
    )
    print("the model's run is sound" if sound else "the model's run is NOT sound")
    sys.exit(not sound)


if __name__ == "__main__":
    main()
