"""Runs of the engines against what is known of them exactly: the energy kept, cold spectra, thermostats, energies of
beads.

A molecule (or crystal) of the model's fingerprint, relaxed with the model. In a run at 1 K every mode swings by itself,
so that its frequency can be read off its own projection; with all masses 10⁴ times as large, temperature and inverse
time step a hundred times as small, a path integral is that of the same ħω/kT in a well that is a hundred times
flatter, so that the harmonic energies of its own number of beads and time step are exact.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import ase
import ase.units
import numpy as np

from hesspot.analysis.ring_polymer import harmonic_sums
from hesspot.analysis.run_output import column, read_ipi_properties
from hesspot.errors import UserError
from hesspot.export import LoadedModel
from hesspot.ipi import inputs
from hesspot.ipi.curvature import ADDRESS
from hesspot.ipi.launch import run_ipi
from hesspot.lammps import run_lammps
from hesspot.lammps.run import error_of
from hesspot.lammps.structure import boundary, write_data
from hesspot.units import HBAR, INVERSE_CM
from hesspot.verification.report import DynamicCheck
from hesspot.verification.start import SEED, Start, start_of
from hesspot.verification.thermostats import EVERY, thermostat_checks
from hesspot.verification.thermostats import STEP as THERMOSTATTED_STEP
from hesspot.verification.thermostats import TAU as DAMPING
from hesspot.verification.tolerances import SOFT_MODE

#: K and fs of the cold runs, and their steps: 1 ps.
COLD, COLD_STEP, COLD_STEPS = 1.0, 0.25, 4000
#: Steps of i-PI between two positions that it prints: 2.5 fs, less than half a period of any mode.
BETWEEN = 10
#: cm⁻¹ of a mode in a cold run.
SPECTRUM = 5.0
#: K of the runs whose energy is watched, and fs of their longer step; ps.
WARM, WARM_STEP, WARM_LENGTH = 300.0, 0.5, 0.1
#: Steps of a run in a thermostat: 20 and 5 ps.
THERMOSTATTED_STEPS = {"lammps": 80_000, "ipi": 20_000}
#: Of four, by how much the ratio of the fluctuations with two steps may differ.
LAW = 0.35
#: Of the masses, in path integrals; beads, K, fs, steps and time constant in fs, as for the masses as they are.
HEAVIER, BEADS, TEMPERATURE, STEP, STEPS, TAU = 1e4, 8, 300.0, 0.5, 20_000, 20.0
#: Standard errors of a mean that it may be off, and the part of the run that is left out at its start.
CHANCE, START = 4.0, 0.05


#: Energies (steps + 1,) eV, positions (frames, n, 3) Å and the fs between them, of a start, a step in fs, steps and K.
Run = Callable[[Start, float, int, float], tuple[np.ndarray, np.ndarray, float]]
Progress = Callable[[str], None]


def dynamic_checks(
    model: LoadedModel, engines: Sequence[str], progress: Progress = lambda what: None
) -> list[DynamicCheck]:
    """Of those engines among `lammps` and `ipi`. A run that ends has failed, with its words; UserError for a model that
    no run can start from."""
    start = start_of(model)
    found: list[DynamicCheck] = []
    runners: dict[str, Run] = {"lammps": _in_lammps, "ipi": _in_ipi}
    for engine in engines:
        if engine not in runners:
            continue
        run = runners[engine]
        asked: dict[str, Callable[[], list[DynamicCheck]]] = {
            "energy of two time steps": partial(_energy, start, engine, run),
            "a cold run": partial(_spectrum, start, engine, run),
        }
        thermostatted = {"lammps": _lammps_in_thermostat, "ipi": _ipi_in_thermostat}[engine]
        asked["thermostats"] = partial(thermostat_checks, start, engine, thermostatted)
        if engine == "ipi":
            asked[f"path integrals with {BEADS} beads"] = partial(_path_integrals, start)
        for what, ask in asked.items():
            progress(f"{engine}: {what}")
            try:
                found += ask()
            except UserError as error:
                nothing = {"found": np.nan, "expected": np.nan, "tolerance": 0.0, "unit": ""}
                found.append(
                    DynamicCheck(engine=engine, quantity=what, structure=start.name, note=str(error), **nothing)
                )
    return found


def _energy(start: Start, engine: str, run: Run) -> list[DynamicCheck]:
    sizes = []
    for timestep in (WARM_STEP, WARM_STEP / 2):
        energies, _, _ = run(start, timestep, round(1e3 * WARM_LENGTH / timestep), WARM)
        sizes.append(float(np.std(energies[:: round(WARM_STEP / timestep)])))
    ratio = sizes[0] / max(sizes[1], np.finfo(float).tiny)
    check = DynamicCheck(
        engine=engine,
        quantity="ratio of energy fluctuations of two time steps",
        structure=start.name,
        found=ratio,
        expected=4.0,
        tolerance=4.0 * LAW,
        unit="",
        note=f"{sizes[0]:.2e} and {sizes[1]:.2e} eV at {WARM_STEP:g} and {WARM_STEP / 2:g} fs",
    )
    return [check]


def _spectrum(start: Start, engine: str, run: Run) -> list[DynamicCheck]:
    _, positions, between = run(start, COLD_STEP, COLD_STEPS, COLD)
    frequencies = frequencies_of(start, positions, between, COLD_STEP)
    harmonic = start.modes.frequencies
    stiff = harmonic > SOFT_MODE
    off = np.where(stiff, np.abs(frequencies - harmonic), 0.0)
    worst = int(off.argmax())
    check = DynamicCheck(
        engine=engine,
        quantity="frequency of a mode in a cold run",
        structure=start.name,
        found=float(frequencies[worst]),
        expected=float(harmonic[worst]),
        tolerance=SPECTRUM,
        unit="cm⁻¹",
        note=f"the worst of {int(stiff.sum())} modes of {COLD_STEPS * COLD_STEP / 1e3:g} ps at {COLD:g} K",
    )
    return [check]


def frequencies_of(start: Start, positions: np.ndarray, between: float, timestep: float) -> np.ndarray:
    """(m,) cm⁻¹ of the modes in positions (frames, n, 3) Å, `between` fs apart, of velocity Verlet with `timestep` fs.

    What swings with Ω has q(t + Δ) + q(t − Δ) = 2 cos(ΩΔ) q(t); least squares over the run give Ω, and Ω of velocity
    Verlet is (2/Δt) asin(ωΔt/2).
    """
    weights = np.sqrt(np.repeat(start.modes.masses, 3))
    moved = (positions - start.atoms.positions).reshape(len(positions), -1) * weights
    q = moved @ start.modes.vectors.T
    cosine = (q[1:-1] * (q[2:] + q[:-2])).sum(0) / (2 * (q[1:-1] ** 2).sum(0))
    of_run = np.arccos(np.clip(cosine, -1.0, 1.0)) / between
    return np.asarray(2.0 / timestep * np.sin(0.5 * of_run * timestep) * HBAR / INVERSE_CM)


def _in_lammps(start: Start, timestep: float, steps: int, temperature: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Total energies eV and positions (frames, n, 3) Å of each step."""
    energies, positions = _lammps_run(start, timestep, steps, temperature, "etotal", 1, "")
    return energies, positions + (start.atoms.positions - positions[0]).mean(0), timestep


def _lammps_in_thermostat(start: Start, kelvin: float) -> tuple[np.ndarray, np.ndarray]:
    """As `Thermostatted` says."""
    thermostat = f"fix 2 all langevin {kelvin} {kelvin} {1e-3 * DAMPING} {SEED}"
    return _lammps_run(start, THERMOSTATTED_STEP, THERMOSTATTED_STEPS["lammps"], kelvin, "pe", EVERY, thermostat)


def _lammps_run(
    start: Start, timestep: float, steps: int, temperature: float, energy: str, every: int, thermostat: str
) -> tuple[np.ndarray, np.ndarray]:
    atoms = start.moving(temperature)
    with tempfile.TemporaryDirectory(prefix="hesspot-dynamics-") as temporary:
        folder = Path(temporary)
        elements = start.model.elements
        named = sorted(set(atoms.symbols), key=elements.index)
        rotation = write_data(folder / "start.data", atoms, named, electrons=start.model.electrons)
        script = f"""units metal
atom_modify map yes
boundary {boundary(atoms)}
read_data start.data
pair_style hesspot
pair_coeff * * "{start.model.location}" {" ".join(named)}
timestep {1e-3 * timestep}
fix 1 all nve
{thermostat}
thermo {every}
thermo_style custom step {energy}
thermo_modify format float %.17g
fix told all print {every} "$({energy}:%.17g)" file energies.txt screen no
dump 1 all custom {every} frames.txt xu yu zu
dump_modify 1 sort id format float %.15g
run {steps}
"""
        ended = run_lammps(script, workdir=folder)
        if ended.returncode != 0:
            raise UserError(f"LAMMPS ended with status {ended.returncode}: {error_of(ended.stdout)}")
        energies = np.loadtxt(folder / "energies.txt")
        lines = (folder / "frames.txt").read_text().split("\n")
    per_frame, n = len(atoms) + 9, len(atoms)
    rows = [" ".join(lines[k + 9 : k + per_frame]) for k in range(0, len(lines) - per_frame + 1, per_frame)]
    return energies, np.array(" ".join(rows).split(), dtype=float).reshape(-1, n, 3) @ rotation.T


def _in_ipi(start: Start, timestep: float, steps: int, temperature: float) -> tuple[np.ndarray, np.ndarray, float]:
    """As `_in_lammps`, with positions of every `BETWEEN` steps."""
    with tempfile.TemporaryDirectory(prefix="hesspot-dynamics-") as temporary:
        folder = Path(temporary)
        (atoms,) = inputs.write_start(folder / "start.xyz", start.moving(temperature))
        contents = [
            inputs.initial_beads("start.xyz", 1, inputs.stated_velocities(atoms)),
            f"<forces>{inputs.force('hesspot')}</forces>",
            inputs.dynamics(timestep, ""),
        ]
        table = _run(start, folder, contents, steps, temperature, stride=1)
        positions = _ipi_positions(start, folder)
    energies = column(table, "conserved")
    return energies, positions + (start.atoms.positions - positions[0]).mean(0), timestep * BETWEEN


def _ipi_positions(start: Start, folder: Path) -> np.ndarray:
    """(frames, n, 3) Å, in the axes of the start."""
    (file,) = folder.glob("simulation.pos_*")
    turned = np.array([frame.positions for frame in ase.io.read(file, ":", format="extxyz")])
    return np.asarray(turned @ inputs.standard_form(start.atoms)[1])


def _ipi_in_thermostat(start: Start, kelvin: float) -> tuple[np.ndarray, np.ndarray]:
    """As `Thermostatted` says."""
    with tempfile.TemporaryDirectory(prefix="hesspot-dynamics-") as temporary:
        folder = Path(temporary)
        (atoms,) = inputs.write_start(folder / "start.xyz", start.moving(kelvin))
        thermostat = f"<thermostat mode='langevin'><tau units='femtosecond'>{DAMPING}</tau></thermostat>"
        contents = [
            inputs.initial_beads("start.xyz", 1, inputs.stated_velocities(atoms)),
            f"<forces>{inputs.force('hesspot')}</forces>",
            inputs.dynamics(THERMOSTATTED_STEP, thermostat),
        ]
        table = _run(start, folder, contents, THERMOSTATTED_STEPS["ipi"], kelvin, stride=EVERY // BETWEEN)
        positions = _ipi_positions(start, folder)
    return column(table, "potential")[::BETWEEN], positions


def _path_integrals(start: Start) -> list[DynamicCheck]:
    """⟨V⟩ and ⟨K_cv⟩ of beads on heavy atoms against their exact harmonic values."""
    root = np.sqrt(HEAVIER)
    temperature, timestep = TEMPERATURE / root, STEP * root
    with tempfile.TemporaryDirectory(prefix="hesspot-dynamics-") as temporary:
        folder = Path(temporary)
        inputs.write_start(folder / "start.xyz", start.atoms)
        masses = inputs.array(HEAVIER * start.modes.masses)
        heavier = f"<masses mode='manual' units='dalton'>{masses}</masses>\n      "
        thermostat = f"<thermostat mode='pile_l'><tau units='femtosecond'>{TAU * root}</tau></thermostat>"
        contents = [
            inputs.initial_beads("start.xyz", BEADS, heavier + inputs.drawn_velocities(temperature)),
            f"<forces>{inputs.force('hesspot')}</forces>",
            inputs.dynamics(timestep, thermostat),
        ]
        table = _run(start, folder, contents, STEPS, temperature, stride=2)
    squares = (start.modes.frequencies * INVERSE_CM / HBAR) ** 2 / HEAVIER
    exact = harmonic_sums(squares, BEADS, temperature, timestep)
    at_rest = float(column(table, "potential")[0])  # all beads on the minimum
    classical = 1.5 * len(start.atoms) * ase.units.kB * temperature
    series = {
        "potential energy of beads": column(table, "potential") - at_rest,
        "kinetic energy of beads": column(table, "kinetic_cv") - classical,
    }
    found = []
    for (quantity, values), expected in zip(series.items(), exact, strict=True):
        value, error = _mean(values[round(START * len(values)) :])
        found.append(
            DynamicCheck(
                engine="ipi",
                quantity=quantity,
                structure=start.name,
                found=1e3 * value,
                expected=1e3 * expected,
                tolerance=1e3 * CHANCE * error,
                unit="meV",
                note=f"{BEADS} beads, {abs(value - expected) / error:.1f} standard errors of {error / expected:.1%}; "
                f"masses {HEAVIER:g} times as large, {temperature:g} K, {timestep:g} fs",
            )
        )
    return found


def _run(
    start: Start, folder: Path, contents: Sequence[str], steps: int, temperature: float, stride: int
) -> dict[str, np.ndarray]:
    blocks = [
        inputs.dynamics_output(stride),
        inputs.ffsocket("hesspot", ADDRESS, BEADS),
        inputs.system(contents, temperature),
    ]
    text = inputs.simulation("A dynamic check.", blocks, steps, SEED, stride=stride)
    (folder / "input.xml").write_text(text)
    run_ipi(folder / "input.xml", start.model.location, folder / "start.xyz", folder)
    return read_ipi_properties(folder / "simulation.out")


def _mean(values: np.ndarray, blocks: int = 20) -> tuple[float, float]:
    """Mean and its standard error, from the scatter of consecutive blocks."""
    means = values[: len(values) // blocks * blocks].reshape(blocks, -1).mean(1)
    return float(means.mean()), float(means.std(ddof=1) / np.sqrt(blocks))
