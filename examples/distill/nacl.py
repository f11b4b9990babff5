"""Rock salt and its melt: what `hesspot distill nacl.yaml` has made, in LAMMPS, beside its teacher SevenNet-0.

    python nacl.py nacl/model.pt --out nacl-runs
    python nacl.py nacl/model.pt --out nacl-runs --speed

The first runs the melt at 1300 K and the crystal at 300 K for 1 ns each at constant pressure, in the teacher's own
single precision, and the teacher from the melt at its mean volume; it writes rdf.png and figures.json, and ends with
status 1 if a run of the model is not sound. What is finished in OUT is not done again; --teacher-steps may be raised
later. The second times both on one core, and writes speed.json.
"""

import argparse
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.geometry.rdf import get_rdf
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

from hesspot.analysis import drift
from hesspot.analysis.plots import COLORS, figure_with_axes
from hesspot.analysis.run_output import read_lammps_thermo
from hesspot.calculators import HesspotCalculator
from hesspot.lammps.run import error_of, run_lammps
from hesspot.lammps.structure import write_data
from hesspot.units import PRESSURES

ELEMENTS = ["Na", "Cl"]
#: K and lattice constant (Å) of the starts; at 6.3 Å the crystal melts at once.
STARTS = {"melt": (1300.0, 6.3), "crystal": (300.0, 5.64)}
#: fs and ps: of the time step, of melting, and of the run at constant volume.
TIMESTEP, MELTING, VOLUME_RUN = 2.0, 20.0, 50.0
#: Steps between frames, of LAMMPS and of the teacher.
EVERY, TEACHER_EVERY = 50, 5
#: The part of the teacher's run that is left out of its distribution functions.
DISCARD = 0.2
BINS = 80
#: Frames of the melt that the teacher is asked about.
COMPARED = 20
#: A sound run: drift of what Nosé-Hoover conserves (meV per atom and ps), which the thermostat takes out at once, and
#: how far the mean temperature is off (K).
MAX_DRIFT, MAX_HEATING = 0.5, 10.0
#: What is timed, and steps of it.
TEACHERS, TEACHER_TIMED, TIMED = ("7net-0", "7net-l3i5"), 10, 5000

HEAD = """\
units         metal
atom_style    atomic
boundary      p p p
read_data     start.data
pair_style    hesspot precision {precision}
pair_coeff    * * "{model}" Na Cl
neighbor      1.0 bin
neigh_modify  every 1 delay 0 check yes
timestep      {timestep}
velocity      all create {temperature} 4711 mom yes rot no
thermo        {every}
fix           move all nvt temp {temperature} {temperature} 0.1
"""
RUN = """\
compute       moved all msd
variable      edge equal lx
thermo_style  custom step temp etotal press density econserve v_edge c_moved[4]
thermo_modify format float %.10g
run           {melting}
unfix         move
reset_timestep 0
fix           move all npt temp {temperature} {temperature} 0.1 iso 0 0 1.0
fix           edge all ave/time 10 {averages} {steps} v_edge
run           {steps}
unfix         move
variable      mean equal f_edge
change_box    all x final 0 $(v_mean) y final 0 $(v_mean) z final 0 $(v_mean) remap units box
unfix         edge
fix           move all nvt temp {temperature} {temperature} 0.1
dump          frames all extxyz {every} frames.xyz
dump_modify   frames element Na Cl sort id
run           {volume_run}
"""


def run_lammps_in(folder: Path, name: str, body: str, **keys: Any) -> None:
    """LAMMPS from the start structure of this name."""
    folder.mkdir(parents=True, exist_ok=True)
    temperature, edge = STARTS[name]
    write_data(folder / "start.data", bulk("NaCl", "rocksalt", a=edge, cubic=True) * (2, 2, 2), ELEMENTS)
    keys |= {"timestep": 1e-3 * TIMESTEP, "temperature": temperature, "every": EVERY}
    ended = run_lammps((HEAD + body).format(**keys), 1, folder)
    if ended.returncode:
        sys.exit(f"LAMMPS stopped: {error_of(ended.stdout)}")


def run_model(model: Path, folder: Path, name: str, picoseconds: float) -> list[Atoms]:
    """Frames at constant volume; nothing is run if the folder has a finished run."""
    log = folder / "log.lammps"
    if not (log.exists() and "Total wall time" in log.read_text()):
        melting, steps, volume_run = (round(1e3 * length / TIMESTEP) for length in (MELTING, picoseconds, VOLUME_RUN))
        lengths = {"melting": melting, "steps": steps, "averages": steps // 10, "volume_run": volume_run}
        run_lammps_in(folder, name, RUN, model=model, precision="single", **lengths)
    return list(ase.io.read(folder / "frames.xyz", ":", format="extxyz"))


def microseconds(log: Path) -> float:
    """Processor time per atom and step of the last run of a log."""
    text = log.read_text()
    seconds, steps, atoms = re.findall(r"Loop time of (\S+) on 1 procs for (\d+) steps with (\d+) atoms", text)[-1]
    used = re.findall(r"([\d.]+)% CPU use", text)[-1]
    return 1e6 * float(seconds) * float(used) / 100 / int(steps) / int(atoms)


def figures_of(folder: Path, n_atoms: int, temperature: float) -> dict[str, Any]:
    """Of the run at constant pressure."""
    run = read_lammps_thermo(folder / "log.lammps")[1]
    times = run["Step"] * TIMESTEP
    conserved = 1e3 * drift.energy_drift(times, run["Econserve"], n_atoms).slope.value
    kelvin, edge, density = (drift.mean(run[name]) for name in ("Temp", "v_edge", "Density"))
    return {
        "ps": 1e-3 * (times[-1] - times[0]),
        "temperature_K": kelvin.value,
        "temperature_error": kelvin.error,
        "drift_mev_per_atom_ps": conserved,
        "lattice_constant_A": edge.value / 2,
        "lattice_constant_error": edge.error / 2,
        "density_g_cm3": density.value,
        "density_error": density.error,
        "mean_square_displacement_A2": float(run["c_moved[4]"][-1]),
        "sound": bool(abs(conserved) < MAX_DRIFT and abs(kelvin.value - temperature) < MAX_HEATING),
    }


def teacher_of(name: str) -> Any:
    from sevenn.calculator import SevenNetCalculator

    return SevenNetCalculator(model=name, device="cpu")


def run_teacher(file: Path, start: Atoms, steps: int) -> list[Atoms]:
    """Frames of the melt with the teacher, which go on from the last one."""
    frames = list(ase.io.read(file, ":", format="extxyz")) if file.exists() else []
    done, atoms = TEACHER_EVERY * len(frames), (frames or [start])[-1].copy()
    temperature = STARTS["melt"][0]
    if not frames:
        MaxwellBoltzmannDistribution(atoms, temperature_K=temperature, rng=np.random.default_rng(1))
    atoms.calc = teacher_of(TEACHERS[0])
    dynamics = Langevin(
        atoms,
        TIMESTEP * units.fs,
        temperature_K=temperature,
        friction=0.01 / units.fs,
        fixcm=False,
        rng=np.random.default_rng([2, done]),
    )
    while done < steps:
        dynamics.run(TEACHER_EVERY)
        done += TEACHER_EVERY
        atoms.info["pressure_kbar"] = -atoms.get_stress(include_ideal_gas=True)[:3].mean() / PRESSURES["kbar"]
        ase.io.write(file, atoms, format="extxyz", append=True, columns=["symbols", "positions", "momenta"])
        print(f"teacher: {done} of {steps} steps, {atoms.get_temperature():.0f} K", flush=True)
    return list(ase.io.read(file, ":", format="extxyz"))


def beside_teacher(model: Path, frames: list[Atoms]) -> dict[str, float]:
    """Root-mean-square errors of the model on frames of its own run: meV per atom, eV/Å, kbar; and mean pressures."""
    answers = []
    for calculator in (HesspotCalculator(model), teacher_of(TEACHERS[0])):
        told = []
        for atoms in frames:
            atoms.calc = calculator
            pressure = -atoms.get_stress()[:3].mean() / PRESSURES["kbar"]
            told.append((1e3 * atoms.get_potential_energy() / len(atoms), atoms.get_forces(), pressure))
        answers.append([np.array(values) for values in zip(*told, strict=True)])
    of_model, of_teacher = answers
    energy, forces, pressure = (np.sqrt(np.mean((a - b) ** 2)) for a, b in zip(of_model, of_teacher, strict=True))
    return {
        "energy_mev_per_atom": float(energy),
        "forces_ev_per_A": float(forces),
        "forces_of_teacher_ev_per_A": float(np.sqrt(np.mean(of_teacher[1] ** 2))),
        "pressure_kbar": float(pressure),
        "model_without_motion_kbar": float(of_model[2].mean()),
        "teacher_without_motion_kbar": float(of_teacher[2].mean()),
    }


def distributions(frames: list[Atoms]) -> dict[str, np.ndarray]:
    """r and the partial distribution functions up to half the box."""
    rmax = 0.499 * frames[0].cell.lengths().min()
    found: dict[str, list[np.ndarray]] = {"NaCl": [], "NaNa": [], "ClCl": []}
    r = np.zeros(BINS)
    for atoms in frames:
        distances = atoms.get_all_distances(mic=True)
        for pair, functions in found.items():
            g, r = get_rdf(atoms, rmax, BINS, distances, elements=[pair[:2], pair[2:]])
            functions.append(g)
    return {"r": r, **{pair: np.mean(functions, axis=0) for pair, functions in found.items()}}


def draw(path: Path, model: dict[str, np.ndarray], teacher: dict[str, np.ndarray], told: tuple[str, str]) -> None:
    figure, axes = figure_with_axes(9.6, 3.4, 3)
    for axis, pair in zip(axes, ("NaCl", "NaNa", "ClCl"), strict=True):
        axis.plot(teacher["r"], teacher[pair], color=COLORS[0], linewidth=3.0, alpha=0.8, label=told[1])
        axis.plot(model["r"], model[pair], color=COLORS[1], linewidth=1.2, label=told[0])
        axis.set(xlabel="r, Å", ylabel=f"g({pair[:2]}–{pair[2:]})", xlim=(1.8, 6.3), ylim=(0, None))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", frameon=False, ncols=2)
    figure.savefig(path)


def speed(model: Path, out: Path) -> dict[str, float]:
    """Processor time per atom and step of 64 atoms of the crystal, µs."""
    found = {}
    for name in TEACHERS:
        atoms = bulk("NaCl", "rocksalt", a=STARTS["crystal"][1], cubic=True) * (2, 2, 2)
        atoms.calc = teacher_of(name)
        MaxwellBoltzmannDistribution(atoms, temperature_K=600.0, rng=np.random.default_rng(1))
        dynamics = Langevin(atoms, TIMESTEP * units.fs, temperature_K=300.0, friction=0.01 / units.fs)
        dynamics.run(2)
        began = time.process_time()
        dynamics.run(TEACHER_TIMED)
        found[name] = 1e6 * (time.process_time() - began) / TEACHER_TIMED / len(atoms)
    for precision in ("double", "single"):
        folder = out / f"speed-{precision}"
        run_lammps_in(folder, "crystal", f"run 1000\nrun {TIMED}\n", model=model, precision=precision)
        found[f"model, {precision}"] = microseconds(folder / "log.lammps")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--out", type=Path, default=Path("nacl-runs"))
    parser.add_argument("--picoseconds", type=float, default=1000.0, help="of each run at constant pressure")
    parser.add_argument("--teacher-steps", type=int, default=500, help="of 2 fs, half a second each")
    parser.add_argument("--speed", action="store_true", help="time model and teacher, nothing else")
    arguments = parser.parse_args()
    out, model = arguments.out.absolute(), arguments.model.absolute()
    out.mkdir(parents=True, exist_ok=True)
    if arguments.speed:
        times = speed(model, out)
        (out / "speed.json").write_text(json.dumps(times, indent=2))
        print(json.dumps(times, indent=2))
        return

    melt = run_model(model, out / "melt", "melt", arguments.picoseconds)
    teacher = run_teacher(out / "teacher.xyz", melt[-1], arguments.teacher_steps)
    kept = teacher[int(DISCARD * len(teacher)) :]
    of_model, of_teacher = distributions(melt), distributions(kept)
    length = 1e-3 * TIMESTEP * TEACHER_EVERY * len(kept)
    draw(out / "rdf.png", of_model, of_teacher, (f"model in LAMMPS, {VOLUME_RUN:g} ps", f"SevenNet-0, {length:.1f} ps"))
    crystal = run_model(model, out / "crystal", "crystal", arguments.picoseconds)
    figures: dict[str, Any] = {
        name: figures_of(out / name, len(frames[0]), STARTS[name][0])
        for name, frames in (("melt", melt), ("crystal", crystal))
    }
    figures["errors_in_the_melt"] = beside_teacher(model, melt[:: max(1, len(melt) // COMPARED)])
    for name, functions in (("model", of_model), ("teacher", of_teacher)):
        top = int(np.argmax(functions["NaCl"]))
        figures[f"{name}_NaCl_peak"] = [float(functions["r"][top]), float(functions["NaCl"][top])]
    figures["teacher_temperature_K"] = float(np.mean([atoms.get_temperature() for atoms in kept]))
    figures["teacher_pressure_kbar"] = float(np.mean([atoms.info["pressure_kbar"] for atoms in kept]))
    (out / "figures.json").write_text(json.dumps(figures, indent=2))
    print(json.dumps(figures, indent=2))
    sound = figures["melt"]["sound"] and figures["crystal"]["sound"]
    print("the model's runs are sound" if sound else "the model's runs are NOT sound")
    sys.exit(not sound)


if __name__ == "__main__":
    main()
