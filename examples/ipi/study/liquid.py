"""Liquid water, classical and quantum: what the nuclei's quantum nature adds to its energies."""

from __future__ import annotations

from pathlib import Path

import ase
import ase.io
import matplotlib.pyplot as plt
import numpy as np
from ase.build import bulk, molecule
from ase.optimize import FIRE
from runs import TEMPERATURE, harmonic_energy, harmonic_limit, mean_and_error, run

from hesspot.analysis.normal_modes import NormalModes, normal_modes
from hesspot.calculators import HesspotCalculator
from hesspot.ipi.cases import write_case
from hesspot.ipi.inputs import RunSettings

MOLECULES = 32
DENSITY = 0.997  # g/cm³
GRAMS_PER_CM3 = 1.66053906660  # of amu/Å³
TIMESTEP = 0.5  # fs
EQUILIBRATION = 4000  # steps
BEADS = {1: 6000, 8: 4000, 32: 3000}  # steps at each number of beads
CLOSE = 600  # steps left out at the start
STRIDE = 4
QUENCHED = 0.02  # eV/Å, the largest force of the structure whose vibrations are compared


def packed_box(model: Path) -> ase.Atoms:
    """Molecules turned at random on a lattice, with their worst contacts relaxed."""
    rng = np.random.default_rng(2)
    places = bulk("O", "fcc", a=1.0, cubic=True).repeat(2).get_scaled_positions()
    length = (MOLECULES * molecule("H2O").get_masses().sum() * GRAMS_PER_CM3 / DENSITY) ** (1 / 3)
    box = ase.Atoms(cell=[length] * 3, pbc=True)
    for place in places:
        water = molecule("H2O")
        water.rotate(rng.uniform(0, 360), rng.normal(size=3))
        water.positions += place * length
        box += water
    return relaxed(box, model, largest_force=1.0)


def relaxed(box: ase.Atoms, model: Path, largest_force: float) -> ase.Atoms:
    box = box.copy()
    box.calc = HesspotCalculator(model)
    FIRE(box, logfile=None).run(fmax=largest_force, steps=2000)
    return box


def dynamics(out: Path, model: Path, start: ase.Atoms, n_beads: int, steps: int) -> Path:
    """A finished run with a thermostat that is quick to bring each molecule to the temperature."""
    out.mkdir(parents=True, exist_ok=True)
    settings = RunSettings(TEMPERATURE, n_beads, TIMESTEP, steps, stride=STRIDE, seed=n_beads)
    write_case("pimd" if n_beads > 1 else "nvt", start, [model], out, settings, overwrite=True)
    xml = (out / "input.xml").read_text()
    (out / "input.xml").write_text(xml.replace(">100</tau>", ">50</tau>"))
    run(out)
    return out


def last_frame(folder: Path, like: ase.Atoms) -> ase.Atoms:
    """The last positions that i-PI wrote of the first bead, with the atoms and the cell of `like`."""
    (file,) = folder.glob("simulation.pos_0*")
    frame = like.copy()
    frame.positions = ase.io.read(file, index=-1, format="extxyz").positions
    return frame


def vibrations(box: ase.Atoms, model: Path) -> NormalModes:
    """Vibrations of the liquid at the bottom of the basin that it is in, from the analytic Hessian."""
    bottom = relaxed(box, model, QUENCHED)
    return normal_modes(bottom, HesspotCalculator(model).get_hessian(bottom))


def energies(out: Path, model: Path) -> dict[str, list]:
    """Potential and kinetic energy above those of one bead, eV a molecule, by i-PI and harmonic."""
    start = packed_box(model)
    start = last_frame(dynamics(out / "equilibration", model, start, 1, EQUILIBRATION), start)
    modes = vibrations(start, model).frequencies
    stable = modes[modes > 0.0]
    print(f"liquid: {len(modes)} vibrations, {len(modes) - len(stable)} of them imaginary and left out", flush=True)
    result: dict[str, list] = {"beads": list(BEADS), "potential": [], "kinetic": [], "harmonic": []}
    for n_beads, steps in BEADS.items():
        folder = dynamics(out / f"beads-{n_beads}", model, start, n_beads, steps)
        table = np.loadtxt(folder / "simulation.out")[CLOSE // STRIDE :]
        result["potential"].append(mean_and_error(table[:, 5] / MOLECULES))
        result["kinetic"].append(mean_and_error(table[:, 4] / MOLECULES))
        result["harmonic"].append(harmonic_energy(stable, n_beads, TEMPERATURE) / MOLECULES)
    result["harmonic limit"] = [harmonic_limit(stable, TEMPERATURE) / MOLECULES]
    result["harmonic curve"] = [
        (n_beads, harmonic_energy(stable, n_beads, TEMPERATURE) / MOLECULES) for n_beads in range(1, 65)
    ]
    return result


def plot(result: dict[str, list], file: Path) -> None:
    figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
    curve = np.array(result["harmonic curve"])
    axes.plot(curve[:, 0], 1e3 * (curve[:, 1] - curve[0, 1]), "k-", lw=1, label="harmonic, at the same number of beads")
    limit = 1e3 * (result["harmonic limit"][0] - curve[0, 1])
    axes.axhline(limit, color="grey", ls=":", label="harmonic, quantum limit")
    for key, marker in (("potential", "o"), ("kinetic", "s")):
        values = 1e3 * np.array(result[key])
        errors = np.hypot(values[:, 1], values[0, 1]) * (np.arange(len(values)) > 0)
        axes.errorbar(
            result["beads"], values[:, 0] - values[0, 0], errors, fmt=marker, capsize=2, label=f"{key} energy"
        )
    axes.set_xscale("log", base=2)
    axes.set_xticks(result["beads"], result["beads"])
    axes.set_xlabel("beads")
    axes.set_ylabel("energy above classical, meV a molecule")
    axes.set_title(f"liquid water at {TEMPERATURE:g} K, {MOLECULES} molecules", fontsize=10)
    axes.legend(fontsize=8)
    figure.savefig(file, dpi=110)
