"""The main job on real input: train with and without Hessians, export, run LAMMPS and i-PI, verify, report.

    python examples/demo/demo.py --out demo-out

Every step is the command that a user would type; it is printed before it runs.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
import sysconfig
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np

from hesspot import units
from hesspot.accuracy.cases import Case, from_dataset
from hesspot.accuracy.in_torch import one_by_one
from hesspot.accuracy.model_errors import ModelErrors, model_errors
from hesspot.accuracy.results import EngineResult
from hesspot.accuracy.table import LEGEND, model_error_rows
from hesspot.analysis import drift, plots
from hesspot.analysis.html_report import Report
from hesspot.analysis.normal_modes import NormalModes, normal_modes
from hesspot.analysis.run_output import column, read_ipi_properties, read_lammps_thermo
from hesspot.data import Dataset
from hesspot.data.shipped import path as shipped
from hesspot.ipi.inputs import dynamics_input, write_start
from hesspot.ipi.launch import run_ipi
from hesspot.models.house import HouseModel
from hesspot.training.checkpoint import load_checkpoint, model_of
from hesspot.verification.report import VerifyReport

HERE = Path(__file__).parent
MODES = {"E-F": "ef", "E-F-H": "efh"}
TEMPERATURE = 300.0  # K
GAS = ("H2CO", "CH4", "H2O")  # the molecules of the constant-energy run
SPACING = 14.0  # Å between molecules: more than their size plus the cutoff
NVE_STEPS = 10_000  # of 0.25 fs
BEADS, PIMD_STEPS, PIMD_TIMESTEP = 8, 8_000, 0.25  # fs
DISCARD = 0.2  # of a run: equilibration
PIMD_MOLECULE = "H2CO"


def hesspot(*arguments: str | Path, cwd: Path | None = None) -> None:
    """Run a hesspot command as a user would, after printing it."""
    command = [str(argument) for argument in arguments]
    print(f"\n$ hesspot {' '.join(command)}", flush=True)
    subprocess.run([str(Path(sysconfig.get_path("scripts")) / "hesspot"), *command], cwd=cwd, check=True)


def minimum(dataset: Dataset, system: str) -> ase.Atoms:
    return dataset.select(kind="minimum", system=system)[0].atoms_only()


def train_both(out: Path) -> None:
    """Both models at the same time, one core each."""

    def one(mode: str) -> None:
        hesspot("train", HERE / f"{mode}.yaml", "--out", out / mode)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one, MODES.values()))


def trained(run: Path) -> HouseModel:
    return model_of(load_checkpoint(run / "best.pt")).requires_grad_(False)


def answers(model: HouseModel, cases: list[Case]) -> list[EngineResult]:
    return one_by_one(model, [case.atoms for case in cases])


def read_log(folder: Path) -> dict[str, np.ndarray]:
    with (folder / "log.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    numbers = (key for key in rows[0] if key != "validated_on")
    return {key: np.array([float(row[key] or "nan") for row in rows]) for key in numbers}


def compare(out: Path, report: Report) -> dict[str, Any]:
    """E-F against E-F-H on structures that neither was trained on, and at the stationary points."""
    data = shipped("small_chno")
    models = {
        name: model_of(load_checkpoint(out / mode / "best.pt")).requires_grad_(False) for name, mode in MODES.items()
    }
    away, _ = from_dataset(data, "test")
    every, _ = from_dataset(data, None)
    still = [case for case in every if case.kind in ("minimum", "saddle") and len(case.atoms) > 1]
    results = {name: answers(model, away) for name, model in models.items()}
    at_rest = {name: answers(model, still) for name, model in models.items()}
    errors = {name: model_errors(away, result)[0] for name, result in results.items()}
    stationary = {name: model_errors(still, result)[0] for name, result in at_rest.items()}
    logs = {name: read_log(out / mode) for name, mode in MODES.items()}
    cost = {name: float(log["seconds"][-1] / log["epoch"][-1]) for name, log in logs.items()}

    report.section("E-F against E-F-H")
    gain = errors["E-F"].hessian.rmse / errors["E-F-H"].hessian.rmse
    report.text(
        f"Both models saw the same structures in the same number of steps. On the {len(away)} off-equilibrium test "
        f"structures, which neither was trained on, training on Hessians lowers the Hessian RMSE **{gain:.1f} times**; "
        f"an epoch costs **{cost['E-F-H'] / cost['E-F']:.1f} times** as much. The stationary points of the second "
        "table belong to the training data of both: the E-F model knows that their forces vanish, not how stiff "
        "they are."
    )
    report.table(*side_by_side(errors), caption=f"Off-equilibrium test structures ({LEGEND})")
    low = {name: e.frequencies_below_400 for name, e in stationary.items()}
    if low["E-F"] and low["E-F-H"]:
        better = "better" if low["E-F-H"].mae < low["E-F"].mae else "**worse**"
        report.text(
            f"Frequencies below 400 cm⁻¹ got {better}: MAE {low['E-F'].mae:.0f} cm⁻¹ with E-F, {low['E-F-H'].mae:.0f} "
            "with E-F-H. Stiff bonds dominate errors in eV/Å²; `hessian: {metric: frequency}` is for soft modes."
        )
    report.table(*side_by_side(stationary), caption=f"Minima and saddle points of the training data ({LEGEND})")
    report.figure(
        plots.hessian_parity(
            [case.hessian for case in away],
            {name: [result.hessian for result in own] for name, own in results.items()},
        ),
        "Hessian elements of the off-equilibrium test structures.",
        "hessian-parity",
    )
    report.figure(
        plots.frequency_errors(
            [f"{case.name}" for case in still],
            {n: [frequency_error(c, r) for c, r in zip(still, rs, strict=True)] for n, rs in at_rest.items()},
        ),
        "Harmonic frequencies at minima and saddle points.",
        "frequency-errors",
    )
    report.figure(
        plots.bars(
            {
                "Hessian RMSE, eV/Å²": {name: e.hessian.rmse for name, e in errors.items()},
                "force RMSE, eV/Å": {name: e.forces.rmse for name, e in errors.items()},
                "time per epoch, s": cost,
            }
        ),
        "Test errors and the cost of training, one core each.",
        "errors-and-cost",
    )
    report.figure(
        plots.learning_curves(
            {name: (log["seconds"], log["valid_forces_rmse"]) for name, log in logs.items()},
            "validation force RMSE, eV/Å",
        ),
        "What a second of training buys.",
        "learning-curves",
    )
    print(
        f"\nHessian RMSE on {len(away)} off-equilibrium test structures: E-F {errors['E-F'].hessian.rmse:.3f}, "
        f"E-F-H {errors['E-F-H'].hessian.rmse:.3f} eV/Å²; cost of an epoch {cost['E-F-H'] / cost['E-F']:.2f} times E-F"
    )
    return {"hessian_rmse_ratio": gain, "epoch_cost_ratio": cost["E-F-H"] / cost["E-F"]}


def frequency_error(case: Case, result: EngineResult) -> float:
    mine, reference = (normal_modes(case.atoms, h).frequencies for h in (result.hessian, case.hessian))
    return float(np.abs(mine - reference).mean())


def side_by_side(errors: dict[str, ModelErrors]) -> tuple[list[list[str]], list[str]]:
    columns = [model_error_rows([error]) for error in errors.values()]
    rows = [[first[0], *(column[i][1] for column in columns)] for i, first in enumerate(columns[0]) if i]
    return rows, ["", *errors]


def write_gas(path: Path, dataset: Dataset, elements: list[str]) -> int:
    """27 isolated molecules with rotating and vibrating velocities; returns the number of atoms."""
    random = np.random.default_rng(1)
    gas = ase.Atoms(cell=[3 * SPACING] * 3, pbc=True)
    for site in np.ndindex(3, 3, 3):
        molecule = minimum(dataset, GAS[sum(site) % len(GAS)])
        molecule.rotate(360 * random.random(), random.standard_normal(3), center="COM")
        # from rest in the minimum half of the kinetic energy goes to the potential
        masses = molecule.get_masses()[:, None]
        momenta = np.sqrt(masses * 2 * units.BOLTZMANN * TEMPERATURE) * random.standard_normal((len(molecule), 3))
        molecule.set_momenta(momenta - masses * momenta.sum(0) / masses.sum())
        molecule.positions += SPACING * (np.array(site) + 0.5) - molecule.get_center_of_mass()
        gas += molecule
    ase.io.write(path, gas, format="lammps-data", specorder=elements, velocities=True, masses=True, units="metal")
    return len(gas)


def nve(out: Path, dataset: Dataset, elements: list[str], report: Report) -> dict[str, Any]:
    """Constant energy in LAMMPS on two MPI ranks."""
    folder = out / "nve"
    folder.mkdir(exist_ok=True)
    shutil.copy(out / "model.pt", folder)
    shutil.copy(HERE / "in.nve", folder)
    n_atoms = write_gas(folder / "gas.data", dataset, elements)
    hesspot("lammps", "run", "-n", "2", "in.nve", "--", "-screen", "none", "-var", "steps", str(NVE_STEPS), cwd=folder)
    thermo = read_lammps_thermo(folder / "log.lammps")[-1]
    times, energies = 1e3 * thermo["Time"], thermo["TotEng"]
    result = drift.energy_drift(times, energies, n_atoms)
    report.section("Constant energy in LAMMPS, 2 MPI ranks")
    report.text(
        f"{n_atoms} atoms ({', '.join(GAS)}, far apart), {result.duration:.1f} ps in steps of 0.25 fs at about "
        f"{thermo['Temp'][len(times) // 5 :].mean():.0f} K. Slope of the total energy: **{result.slope} eV/atom/ps**, "
        f"over the run {result.total} eV/atom."
    )
    report.figure(
        plots.energy_drift(times, energies, n_atoms, result.slope.value, result.slope.error),
        "Total energy of the LAMMPS run.",
        "nve-drift",
    )
    print(f"\nNVE: slope {result.slope} eV/atom/ps, over {result.duration:.1f} ps {result.total} eV/atom")
    return {"drift_ev_per_atom": result.total.value, "drift_error": result.total.error}


def harmonic_potential_energy(modes: NormalModes, beads: int) -> float:
    """⟨V⟩ of harmonic vibrations with P beads, eV: (1/2β) Σ_k ω²/(ω² + ω_k²), ω_k = (2P/βħ) sin(kπ/P)."""
    beta = 1.0 / (units.BOLTZMANN * TEMPERATURE)
    omega = 2 * np.pi * units.SPEED_OF_LIGHT * modes.frequencies
    ring = 2 * beads / (beta * units.HBAR) * np.sin(np.arange(beads) * np.pi / beads)
    return float((omega[:, None] ** 2 / (omega[:, None] ** 2 + ring**2)).sum() / (2 * beta))


def pimd(out: Path, dataset: Dataset, model: HouseModel, report: Report) -> dict[str, Any]:
    """Path integrals with 8 beads in i-PI, all beads in one evaluation of the driver."""
    folder = out / "pimd"
    folder.mkdir(exist_ok=True)
    atoms = minimum(dataset, PIMD_MOLECULE)
    write_start(folder / "start.xyz", atoms)
    (folder / "input.xml").write_text(
        dynamics_input(
            "start.xyz",
            address="demo",
            n_beads=BEADS,
            batch_size=BEADS,
            timestep=PIMD_TIMESTEP,
            steps=PIMD_STEPS,
            temperature=TEMPERATURE,
        )
    )
    print(f"\ni-PI: {PIMD_MOLECULE}, {BEADS} beads, {PIMD_STEPS} steps; logs in {folder}", flush=True)
    run_ipi(folder / "input.xml", out / "model.pt", folder / "start.xyz", folder)
    columns = read_ipi_properties(folder / "simulation.out")
    times = column(columns, "time")
    start = one_by_one(model, [atoms])[0]
    potential = column(columns, "potential") - start.energy
    measured = drift.mean(potential, discard=DISCARD)
    kinetic = drift.mean(column(columns, "kinetic_cv"), discard=DISCARD)
    modes = normal_modes(atoms, start.hessian)
    classical = harmonic_potential_energy(modes, 1)
    report.section(f"Path integrals in i-PI, {BEADS} beads")
    report.text(
        f"One {PIMD_MOLECULE} molecule at {TEMPERATURE:.0f} K, {PIMD_STEPS * PIMD_TIMESTEP * 1e-3:.1f} ps. Its "
        "potential energy above the minimum beside what the harmonic frequencies of the same model predict for 8 "
        "beads, for many beads, and for classical nuclei; what is left is anharmonicity and the sampling error."
    )
    report.table(
        [
            ["i-PI, 8 beads", str(measured)],
            ["harmonic, 8 beads", f"{harmonic_potential_energy(modes, BEADS):.4f}"],
            ["harmonic, 512 beads", f"{harmonic_potential_energy(modes, 512):.4f}"],
            ["harmonic, classical", f"{classical:.4f}"],
            ["kinetic energy (centroid virial), i-PI", str(kinetic)],
        ],
        ["", "eV"],
        caption=f"Potential energy of {PIMD_MOLECULE} above its minimum",
    )
    report.figure(
        plots.energy_traces(
            times,
            {"potential": potential, "kinetic (centroid virial)": column(columns, "kinetic_cv")},
            discard=DISCARD,
        ),
        "Energies of the path-integral run.",
        "pimd-energies",
    )
    print(
        f"PIMD: potential energy {measured} eV; harmonic with {BEADS} beads "
        f"{harmonic_potential_energy(modes, BEADS):.4f}, classical {classical:.4f}"
    )
    return {"potential_ev": measured.value, "potential_error": measured.error}


def verification(out: Path, report: Report) -> dict[str, Any]:
    """Every engine against the trained model, and the trained model against the reference."""
    hesspot("verify", out / "model.pt", "--ranks", "1,2", "--json", out / "verify.json", "--overwrite")
    verified = VerifyReport.model_validate_json((out / "verify.json").read_text())
    rows = []
    for engine in verified.engines:
        checks = [engine.check(quantity) for quantity in ("energy", "forces", "Hessian", "frequencies")]
        cells = [f"{check.error:.0e} (≤ {check.tolerance:.0e})" if check else "–" for check in checks]
        rows.append([engine.label, *cells, "ok" if engine.passed else "FAIL"])
    report.section("Verification")
    report.text(
        "Largest deviation of each engine from the trained model in float64, with its tolerance. LAMMPS's Hessian "
        "comes from `dynamical_matrix`, that of i-PI from its `vibrations` mode: central differences, hence the "
        "wider tolerance."
    )
    report.table(
        rows,
        ["engine", "energy, eV/atom", "forces, eV/Å", "Hessian, eV/Å²", "frequencies, cm⁻¹", ""],
        caption="Deployment error",
    )
    return {"verified": verified.passed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("demo-out"))
    out = parser.parse_args().out.absolute()
    started = time.monotonic()
    if out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True)
    dataset = Dataset.read(shipped("small_chno"))
    report = Report("hesspot demo: from quantum-chemical Hessians to verified runs")
    report.text(
        f"Data: {len(dataset)} structures of {' '.join(dataset.elements)}, {dataset.level_of_theory}. Everything on "
        "this page was computed by one run of `make demo`."
    )
    train_both(out)
    figures = compare(out, report)
    hesspot("export", out / "efh", out / "model.pt", "--overwrite")
    model = trained(out / "efh")
    figures |= nve(out, dataset, model.elements, report)
    figures |= pimd(out, dataset, model, report)
    figures |= verification(out, report)
    figures["minutes"] = (time.monotonic() - started) / 60
    (out / "figures.json").write_text(json.dumps(figures, indent=2))
    report.text(f"The whole run took {figures['minutes']:.1f} minutes.")
    report.write(out / "report.html")
    print(
        f"\nreport:       {out / 'report.html'}\nverification: {out / 'verify.json'}\n{figures['minutes']:.1f} minutes"
    )


if __name__ == "__main__":
    main()
