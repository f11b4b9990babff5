"""Runs of the engines: frequencies are read off right, a right engine passes, a mass or a force that is off fails."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from typer.testing import CliRunner

from hesspot.analysis.normal_modes import normal_modes
from hesspot.cli.main import app
from hesspot.errors import UserError
from hesspot.export import fingerprint_entry, read_model, write_model
from hesspot.models.house import HouseConfig, HouseModel
from hesspot.models.shipped import find_model
from hesspot.units import AMU_A2_PER_FS2, INVERSE_CM
from hesspot.verification import dynamics
from hesspot.verification.engines import ENGINES
from hesspot.verification.report import DynamicCheck, VerifyReport
from hesspot.verification.run import verify
from hesspot.verification.start import start_of
from hesspot.verification.thermostats import CHANCE, equipartition, thermostat_checks

#: cm⁻¹ of a harmonic molecule: rounding.
EXACT = 1e-3
SPRING = 30.0  # eV/Å²


def harmonic_start():
    """A molecule of two atoms on a spring along x, and on weaker ones across."""
    atoms = Atoms("CO", [[0.0, 0.0, 0.0], [1.1, 0.0, 0.0]])
    block = np.diag([SPRING, 0.0, 0.0])
    hessian = np.block([[block, -block], [-block, block]])
    return dynamics.Start(None, "CO", atoms, normal_modes(atoms, hessian)), hessian


@pytest.mark.parametrize("timestep", [0.1, 1.0])
def test_frequency_of_a_spring_is_found_whatever_the_time_step(timestep):
    start, hessian = harmonic_start()
    atoms = start.moving(1.0)
    masses = np.repeat(atoms.get_masses(), 3) * AMU_A2_PER_FS2
    x, v = atoms.positions.ravel(), atoms.get_momenta().ravel() / atoms.get_masses().repeat(3) / np.sqrt(AMU_A2_PER_FS2)
    rest, frames = start.atoms.positions.ravel(), [x]
    for _ in range(500):
        v = v - 0.5 * timestep * hessian @ (x - rest) / masses
        x = x + timestep * v
        v = v - 0.5 * timestep * hessian @ (x - rest) / masses
        frames.append(x)
    positions = np.array(frames).reshape(-1, 2, 3)
    (found,) = dynamics.frequencies_of(start, positions, timestep, timestep)
    reduced = 1 / (1 / masses[0] + 1 / masses[3])
    expected = np.sqrt(SPRING / reduced) * 6.582119569509066e-1 / INVERSE_CM  # ħ, eV fs
    assert found == pytest.approx(expected, abs=EXACT)


@pytest.mark.lammps
def test_lammps_keeps_energy_and_has_the_harmonic_frequencies():
    found = dynamics.dynamic_checks(read_model(find_model("shipped:water")), ["ase", "lammps"])
    energy, spectrum, equipartition, ensembles = found
    assert (energy.expected, energy.passed) == (4.0, True)
    assert spectrum.passed
    assert spectrum.expected > 3000
    assert equipartition.passed and equipartition.tolerance < 0.5 * equipartition.expected
    assert ensembles.passed


def equipartition_alone(start, engine, run):
    _, positions = run(start, 20.0)
    return [equipartition(start, engine, positions[20:], 20.0)]


@pytest.mark.ipi
def test_ipi_keeps_energy_and_has_the_harmonic_frequencies_and_energies(monkeypatch):
    monkeypatch.setattr(dynamics, "STEPS", 1000)
    monkeypatch.setattr(dynamics, "COLD_STEPS", 1000)
    monkeypatch.setitem(dynamics.THERMOSTATTED_STEPS, "ipi", 2000)
    monkeypatch.setattr(dynamics, "thermostat_checks", equipartition_alone)  # ensembles need longer runs
    checks = dynamics.dynamic_checks(read_model(find_model("shipped:water")), ["ipi"])
    assert len(checks) == 5
    assert all(check.passed for check in checks), checks


@pytest.mark.lammps
def test_a_thermostat_that_heats_light_atoms_is_found(monkeypatch):
    """LAMMPS's `zero yes` takes the mean of the random forces off light and heavy atoms alike."""
    right = dynamics._lammps_run

    def zeroed(*arguments):
        return right(*arguments[:-1], f"{arguments[-1]} zero yes")

    monkeypatch.setattr(dynamics, "_lammps_run", zeroed)
    start = start_of(read_model(find_model("shipped:water")))
    found, ensembles = thermostat_checks(start, "lammps", dynamics._lammps_in_thermostat)
    print(f"{found.note}: {found.found:.0f} ± {found.tolerance / CHANCE:.0f} K; {ensembles.found:.0f} standard errors")
    assert found.found > 2 * found.expected and not found.passed
    assert not ensembles.passed


@pytest.mark.lammps
def test_a_mass_that_is_off_shows_in_the_cold_run(monkeypatch):
    right = dynamics.write_data

    def heavier(path, atoms, elements, **options):
        other = atoms.copy()
        other.set_masses(1.01 * atoms.get_masses())
        return right(path, other, elements, **options)

    monkeypatch.setattr(dynamics, "write_data", heavier)
    monkeypatch.setattr(dynamics, "thermostat_checks", lambda *arguments: [])
    energy, spectrum = dynamics.dynamic_checks(read_model(find_model("shipped:water")), ["lammps"])
    assert energy.passed
    assert not spectrum.passed
    assert spectrum.found == pytest.approx(spectrum.expected / np.sqrt(1.01), abs=dynamics.SPECTRUM)


def test_a_run_that_ends_has_failed_with_its_words(monkeypatch):
    def ends(*arguments):
        raise UserError("LAMMPS ended with status 1: lost atoms")

    monkeypatch.setattr(dynamics, "_lammps_run", ends)
    checks = dynamics.dynamic_checks(read_model(find_model("shipped:water")), ["lammps"])
    assert [check.passed for check in checks] == [False, False, False]
    assert all("lost atoms" in check.note for check in checks)


def test_a_run_that_failed_is_in_the_table_and_fails_the_verification(tmp_path, monkeypatch):
    torch.manual_seed(8)
    model = HouseModel(HouseConfig(elements=["H", "O"], cutoff=4.0, n_radial=4, n_channels=3, hidden=[8])).eval()
    model.requires_grad_(False)
    write_model(tmp_path / "model.pt", model, [fingerprint_entry(model, "water", molecule("H2O"))])
    told = {"engine": "lammps", "quantity": "frequency", "structure": "water", "found": 10.0, "expected": 30.0}
    check = DynamicCheck(**told, tolerance=5.0, unit="cm⁻¹", note="the worst of 3 modes")
    monkeypatch.setattr("hesspot.verification.run.dynamic_checks", lambda *arguments: [check])
    monkeypatch.setitem(ENGINES, "lammps", replace(ENGINES["ase"], parallel=True))
    arguments = ["verify", str(tmp_path / "model.pt"), "--engines", "lammps", "--ranks", "1", "--dynamic"]
    outcome = CliRunner().invoke(app, [*arguments, "--json", str(tmp_path / "report.json")])
    assert outcome.exit_code == 1
    assert "the worst of 3 modes" in outcome.output
    report = VerifyReport.model_validate_json((tmp_path / "report.json").read_text())
    assert report.dynamics == [check]
    assert [engine.passed for engine in report.engines] == [True]


def test_runs_of_no_engine_are_refused():
    with pytest.raises(UserError, match="runs are of lammps and ipi"):
        verify("shipped:water", engines=["ase"], dynamic=True)
