"""Nuclear quantum effects of water and ammonia with i-PI, from training to tunnelling rates.

    python examples/ipi/study/study.py --out study-out

trains the model of the molecules (`--model` takes one that is there); the liquid takes that of examples/water.
README.md shows and explains the results; every run stays in its own folder, with the input.xml that i-PI read. The
command goes on where it was stopped: runs that are finished are not made again.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import ase
import ase.io
import liquid
import matplotlib
import numpy as np
from runs import TEMPERATURE, command, harmonic_energy, harmonic_limit, mean_and_error, run

from hesspot.analysis.instanton import instanton_rate, transition_state_rate
from hesspot.analysis.normal_modes import NormalModes, normal_modes, zero_point_energy
from hesspot.data import Dataset
from hesspot.data.shipped import path as shipped
from hesspot.export import LoadedModel, read_model
from hesspot.ipi import curvature
from hesspot.ipi.cases import write_case
from hesspot.ipi.inputs import RunSettings
from hesspot.models.shipped import find_model
from hesspot.units import BOLTZMANN, HARTREE, HBAR, SPEED_OF_LIGHT

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
WATER = find_model("shipped:water")
MOLECULES = ("H2O", "HCN", "H2CO", "NH3")
TIMESTEP = 0.25  # fs
BEADS = (1, 2, 4, 8, 16, 32, 64)
STEPS = 4000
COPIES, SPACING = 4, 20.0  # molecules of one run, out of each other's sight; Å
QUANTUM = 32  # beads for NH3
CLOSE = 200  # steps left out at the start
INSTANTON_BEADS = 24  # of half the ring
TUNNELLING = (195.0, 185.0, 175.0, 165.0, 155.0, 145.0)  # K, each started from the path of the one before
EV_TO_MEV = 1e3


def train(out: Path) -> Path:
    if not (out / "model.pt").exists():
        resume = ["--resume"] if (out / "model").exists() else []
        command("hesspot", "train", HERE / "model.yaml", "--out", out / "model", *resume)
        command("hesspot", "export", out / "model", out / "model.pt")
    return out / "model.pt"


class Molecule:
    """A molecule in the reference data and, relaxed, in the model."""

    def __init__(self, model: LoadedModel, data: Dataset, system: str, kind: str = "minimum"):
        (record,) = data.select(kind=kind, system=system)
        self.reference = normal_modes(record.atoms_only(), record.hessian)
        self.atoms = curvature.relaxed(model, record.atoms_only())
        here = curvature.derivatives(model, [self.atoms])
        self.energy = float(here.energies[0])
        self.modes: NormalModes = here.modes()


def zero_point(out: Path, model: Path, molecules: dict[str, Molecule]) -> dict[str, dict[str, float]]:
    """Harmonic zero-point energies of reference and model, and that of i-PI's independent anharmonic modes, eV."""
    energies = {}
    for name, molecule in molecules.items():
        folder = out / f"modes-{name}"
        folder.mkdir(exist_ok=True)
        molecule.atoms.write(folder / "minimum.xyz", format="extxyz")
        options = ["--for", "imf", "--relax", "--temperature", "20", "--out", folder, "--overwrite"]
        command("hesspot", "ipi-hessian", model, folder / "minimum.xyz", *options)
        log = run(folder)
        anharmonic = float(re.findall(r"IMF free energy correction += +(\S+)", log)[-1]) * HARTREE
        harmonic = molecule.modes.zero_point_energy
        energies[name] = {
            "reference, harmonic": zero_point_energy(molecule.reference.frequencies),
            "model, harmonic": harmonic,
            "model, anharmonic modes": harmonic + anharmonic,
        }
    return energies


def path_integrals(out: Path, model: Path, name: str, molecule: Molecule, beads: tuple[int, ...]) -> dict[str, list]:
    """Energies above the minimum, eV a molecule: potential and vibrational kinetic energy at each number of beads."""
    result: dict[str, list] = {"beads": [], "potential": [], "kinetic": []}
    several = ase.Atoms()
    for number in range(COPIES):
        copy = molecule.atoms.copy()
        copy.positions += SPACING * np.array([number & 1, number >> 1, 0])
        several += copy
    for n_beads in beads:
        folder = out / f"pimd-{name}-{n_beads}"
        settings = RunSettings(TEMPERATURE, n_beads, TIMESTEP, STEPS, stride=2, seed=n_beads)
        write_case("pimd" if n_beads > 1 else "nvt", several, [model], folder, settings, overwrite=True)
        xml = (folder / "input.xml").read_text()
        (folder / "input.xml").write_text(xml.replace(">100</tau>", ">20</tau>"))
        run(folder)
        table = np.loadtxt(folder / "simulation.out")[CLOSE // 2 :]
        rigid = 0.5 * len(molecule.atoms) * 3 - 0.5 * len(molecule.modes.frequencies)
        result["beads"].append(n_beads)
        result["potential"].append(mean_and_error(table[:, 5] / COPIES - molecule.energy))
        result["kinetic"].append(mean_and_error(table[:, 4] / COPIES - rigid * BOLTZMANN * TEMPERATURE))
    return result


def tunnelling(out: Path, model: Path, reactant: Molecule, saddle: Molecule) -> dict[str, list[float]]:
    """Rates of the inversion of NH3 at several temperatures, 1/s, and the force calls of the optimisations."""
    loaded = read_model(model)
    barrier = saddle.energy - reactant.energy
    result: dict[str, list[float]] = {
        key: [] for key in ("kelvin", "classical", "quantum", "instanton", "calls", "saved")
    }
    start = [saddle.atoms]
    for kelvin in TUNNELLING:
        folder = out / f"instanton-{kelvin:g}K"
        folder.mkdir(exist_ok=True)
        ase.io.write(folder / "path.xyz", start, format="extxyz")
        options = ["--for", "instanton", "--temperature", str(kelvin), "--beads", str(INSTANTON_BEADS)]
        said = command("hesspot", "ipi-hessian", model, folder / "path.xyz", *options, "--overwrite", "--out", folder)
        run(folder)
        (final,) = folder.glob("simulation.instanton_FINAL_[0-9]*.xyz")
        start = curvature.read_path(final, saddle.atoms)
        path = curvature.derivatives(loaded, start)
        classical, quantum = transition_state_rate(
            reactant.atoms, reactant.modes, saddle.atoms, saddle.modes, barrier, kelvin
        )
        rate = instanton_rate(
            reactant.atoms, reactant.modes, path.beads, path.energies - reactant.energy, path.hessians, kelvin
        )
        log = (folder / "driver-hesspot.log").read_text()
        values = (kelvin, classical, quantum, rate, int(re.findall(r"of (\d+) structures", log)[-1]),
                  2 * int(re.findall(r"(\d+) force calls", said)[0]))  # fmt: skip
        for key, value in zip(result, values, strict=True):
            result[key].append(value)
    return result


def plot_zero_point(energies: dict[str, dict[str, float]], file: Path) -> None:
    figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
    names = list(energies)
    labels = list(energies[names[0]])
    for number, label in enumerate(labels):
        heights = [energies[name][label] * EV_TO_MEV for name in names]
        bars = axes.bar(np.arange(len(names)) + 0.27 * (number - 1), heights, 0.25, label=label)
        axes.bar_label(bars, fmt="%.0f", fontsize=7)
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel("zero-point energy, meV")
    axes.legend(fontsize=8)
    figure.savefig(file, dpi=110)


def plot_convergence(energies: dict[str, list], molecule: Molecule, file: Path) -> None:
    figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
    fine = np.unique(np.round(np.geomspace(1, 64, 40)).astype(int))
    curve = [harmonic_energy(molecule.modes.frequencies, p, TEMPERATURE) * EV_TO_MEV for p in fine]
    axes.plot(fine, curve, "k-", lw=1, label="harmonic, at the same number of beads")
    limit = harmonic_limit(molecule.modes.frequencies, TEMPERATURE) * EV_TO_MEV
    axes.axhline(limit, color="grey", ls=":", label="harmonic, quantum limit")
    for key, marker in (("potential", "o"), ("kinetic", "s")):
        values = np.array(energies[key]) * EV_TO_MEV
        axes.errorbar(energies["beads"], values[:, 0], values[:, 1], fmt=marker, capsize=2, label=f"{key} energy, i-PI")
    axes.set_xscale("log", base=2)
    axes.set_xticks(BEADS, BEADS)
    axes.set_xlabel("beads")
    axes.set_ylabel("vibrational energy, meV")
    axes.set_title(f"H2O at {TEMPERATURE:g} K", fontsize=10)
    axes.legend(fontsize=8)
    figure.savefig(file, dpi=110)


def plot_energies(rows: dict[str, dict[str, tuple[float, float]]], file: Path) -> None:
    figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
    names = list(rows)
    for number, label in enumerate(rows[names[0]]):
        heights = np.array([rows[name][label] for name in names]) * EV_TO_MEV
        places = np.arange(len(names)) + 0.2 * (number - 1.5)
        axes.bar(places, heights[:, 0], 0.18, yerr=heights[:, 1], capsize=2, label=label)
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel(f"vibrational energy at {TEMPERATURE:g} K, meV")
    axes.legend(fontsize=8)
    figure.savefig(file, dpi=110)


def plot_rates(rates: dict[str, list[float]], crossover: float, file: Path) -> None:
    figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
    inverse = 1000.0 / np.array(rates["kelvin"])
    for key, label in (
        ("instanton", "instanton (i-PI), exact Hessians"),
        ("quantum", "transition state, quantum vibrations"),
        ("classical", "transition state, classical"),
    ):
        axes.semilogy(inverse, rates[key], "o-", ms=4, label=label)
    axes.axvline(1000.0 / crossover, color="grey", ls=":", label=f"crossover, {crossover:.0f} K")
    axes.set_xlabel("1000 K / T")
    axes.set_ylabel("inversion rate of NH3, 1/s")
    axes.legend(fontsize=8)
    figure.savefig(file, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for runs, plots and results.json")
    parser.add_argument("--model", type=Path, help="a model file of H, C, N and O, instead of training one")
    parser.add_argument("--water", type=Path, default=WATER, help="a model file of liquid water")
    arguments = parser.parse_args()
    if not arguments.water.exists():
        parser.error(
            f"{arguments.water} does not exist; make it as examples/water says, or give another one with --water"
        )
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    model = arguments.model or train(out)
    data = Dataset.read(shipped("small_chno"))
    loaded = read_model(model)
    molecules = {name: Molecule(loaded, data, name) for name in MOLECULES}
    saddle = Molecule(loaded, data, "NH3-inversion", "saddle")

    rigid_enough = {name: molecules[name] for name in ("H2O", "HCN", "H2CO")}
    zero_points = zero_point(out, model, rigid_enough)
    plot_zero_point(zero_points, out / "zero-point.png")

    water = path_integrals(out, model, "H2O", molecules["H2O"], BEADS)
    plot_convergence(water, molecules["H2O"], out / "convergence.png")
    ammonia = path_integrals(out, model, "NH3", molecules["NH3"], (1, QUANTUM))
    rows = {}
    for name, energies in (("H2O", water), ("NH3", ammonia)):
        frequencies = molecules[name].modes.frequencies
        last = energies["beads"].index(QUANTUM)
        rows[name] = {
            "classical, harmonic": (2.0 * harmonic_energy(frequencies, 1, TEMPERATURE), 0.0),
            "classical": add(energies["potential"][0], energies["kinetic"][0]),
            f"{QUANTUM} beads, harmonic": (2.0 * harmonic_energy(frequencies, QUANTUM, TEMPERATURE), 0.0),
            f"{QUANTUM} beads": add(energies["potential"][last], energies["kinetic"][last]),
        }
    plot_energies(rows, out / "energies.png")

    rates = tunnelling(out, model, molecules["NH3"], saddle)
    imaginary = -saddle.modes.frequencies[0]
    crossover = HBAR * 2.0 * np.pi * SPEED_OF_LIGHT * imaginary / (2.0 * np.pi * BOLTZMANN)
    plot_rates(rates, crossover, out / "rates.png")

    of_liquid = liquid.energies(out / "liquid", arguments.water)
    liquid.plot(of_liquid, out / "liquid.png")

    results = {
        "zero-point energies, eV": zero_points,
        "H2O at 300 K, eV": water,
        "NH3 at 300 K, eV": ammonia,
        "energies, eV": rows,
        "barrier of NH3, eV": saddle.energy - molecules["NH3"].energy,
        "imaginary frequency, 1/cm": imaginary,
        "imaginary frequency of the reference, 1/cm": -saddle.reference.frequencies[0],
        "rates, 1/s": rates,
        "liquid water at 300 K, eV a molecule": {key: of_liquid[key] for key in of_liquid if key != "harmonic curve"},
    }
    (out / "results.json").write_text(json.dumps(results, indent=1))
    print(json.dumps(results, indent=1))


def add(first: tuple[float, float], second: tuple[float, float]) -> tuple[float, float]:
    """Sum of two means; their errors are added, as they may be correlated."""
    return first[0] + second[0], first[1] + second[1]


if __name__ == "__main__":
    main()
