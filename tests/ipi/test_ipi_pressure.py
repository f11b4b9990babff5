"""Constant pressure: i-PI's pressure is the model's, the cell moves as the barostat says, an ideal gas has its law."""

import ase
import numpy as np
import pytest
from ipi_folders import Nothing, change, run_folder
from test_ipi_atoms import command
from test_ipi_physics import NEAR, mean_and_error

from hesspot.calculators import HesspotCalculator
from hesspot.errors import UserError
from hesspot.export import fingerprint_entry, write_model
from hesspot.units import BOLTZMANN

pytestmark = pytest.mark.ipi

BAR = 6.241509074e-7  #: eV/Å³

#: Of the pressure: i-PI's bar is 3e-5 too small.
PRESSURE_ERROR = 5e-5

SKEW = np.array([[5.1, 0.4, 0.2], [-0.5, 5.3, 0.3], [0.1, 0.2, 5.6]])

#: Columns of simulation.out.
PRESSURE, VOLUME, CELL = 6, 7, slice(8, 14)


@pytest.fixture
def solid(molecule):
    """Formaldehyde in a small skew cell, at rest."""
    atoms = ase.Atoms(molecule.numbers, molecule.positions, cell=SKEW, pbc=True)
    atoms.set_momenta(np.zeros((len(atoms), 3)))
    return atoms


def pressure_by_differences(model, atoms, strain=1e-4):
    """−dE/dV in bar."""
    energies, volumes = [], []
    for sign in (-1, 1):
        scaled = atoms.copy()
        scaled.set_cell(atoms.cell.array * (1 + sign * strain), scale_atoms=True)
        scaled.calc = HesspotCalculator(model)
        energies.append(scaled.get_potential_energy())
        volumes.append(abs(np.linalg.det(scaled.cell.array)))
    return -np.diff(energies)[0] / np.diff(volumes)[0] / BAR


@pytest.mark.parametrize("handed", [1.0, -1.0])
def test_the_pressure_is_that_of_the_model(house, solid, tmp_path, handed):
    """At rest, also for left-handed lattice vectors, whose volume i-PI would take for negative."""
    solid.set_cell(solid.cell.array * [[1], [1], [handed]])
    solid.write(tmp_path / "start.traj")
    options = ["--steps", 1, "--stride", 1, "--timestep", 0.01]
    result = command("ipi-input", "npt", tmp_path / "start.traj", house, "--out", tmp_path / "run", *options)
    assert ("left-handed" in result.output) == (handed < 0)
    run_folder(tmp_path / "run")
    table = np.loadtxt(tmp_path / "run/simulation.out")
    wanted = pressure_by_differences(house, solid)
    assert abs(wanted) > 20
    assert abs(table[0, PRESSURE] - wanted) < PRESSURE_ERROR * abs(wanted)
    assert abs(table[0, VOLUME] - abs(np.linalg.det(SKEW))) < 1e-5


@pytest.mark.parametrize(("barostat", "beads"), [("isotropic", 1), ("isotropic", 4), ("flexible", 1)])
def test_the_cell_moves_as_the_barostat_says(house, solid, tmp_path, barostat, beads):
    solid.write(tmp_path / "start.traj")
    options = ["--steps", 20, "--stride", 1, "--beads", beads, "--barostat", barostat, "--pressure", 5e4]
    options += ["--velocities", "thermal", "--timestep", 0.2]
    command("ipi-input", "npt", tmp_path / "start.traj", house, "--out", tmp_path / "run", *options)
    change(tmp_path / "run", (">200</tau>", ">30</tau>"))
    run_folder(tmp_path / "run")
    table = np.loadtxt(tmp_path / "run/simulation.out")
    volumes = table[:, VOLUME]
    assert np.ptp(volumes) > 1e-3 * volumes[0]
    shapes = table[:, CELL] / np.cbrt(volumes)[:, None]
    changed = np.abs(shapes - shapes[0]).max()
    assert changed < 1e-6 if barostat == "isotropic" else changed > 1e-4


def test_an_ideal_gas_has_its_volume(tmp_path):
    """⟨V⟩ = N kT/p, with the momentum of the whole taken out."""
    n_atoms, temperature, volume = 16, 300.0, 8000.0
    pressure = n_atoms * BOLTZMANN * temperature / volume / BAR
    places = np.random.default_rng(1).uniform(0, volume ** (1 / 3), (n_atoms, 3))
    gas = ase.Atoms("H" * n_atoms, places, cell=np.eye(3) * volume ** (1 / 3), pbc=True)
    model = Nothing()
    write_model(tmp_path / "nothing.pt", model, [fingerprint_entry(model, "gas", gas)])
    gas.write(tmp_path / "start.xyz", format="extxyz")
    options = ["--steps", 4000, "--stride", 4, "--timestep", 5, "--pressure", pressure]
    command("ipi-input", "npt", tmp_path / "start.xyz", tmp_path / "nothing.pt", "--out", tmp_path / "run", *options)
    run_folder(tmp_path / "run")
    table = np.loadtxt(tmp_path / "run/simulation.out")[100:]
    mean, error = mean_and_error(table[:, VOLUME])
    print(f"V {mean:.0f} ± {error:.0f}, exact {volume:.0f} Å³")
    assert error < 0.1 * volume
    assert abs(mean - volume) < NEAR * error


@pytest.mark.parametrize(("pbc", "words"), [([True, True, False], "pbc T T F"), ([False] * 3, "pbc F F F")])
def test_a_molecule_has_no_pressure(house, solid, tmp_path, pbc, words):
    solid.pbc = pbc
    solid.write(tmp_path / "start.traj")
    with pytest.raises(UserError, match=words):
        command("ipi-input", "npt", tmp_path / "start.traj", house, "--out", tmp_path / "run")
