"""Stress by what it means: work of a strain, pressure of a barostat, transport of energy."""

import re
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from lammps_runs import Case, hesspot_pair, run_succeeding, single_points
from structures import triclinic_crystal, water_crystal

from hesspot.export import fingerprint_entry, write_model
from hesspot.lammps.structure import write_data
from hesspot.models.analytic import StillingerWeber
from hesspot.verification.engines.lammps import VOIGT

pytestmark = pytest.mark.lammps

ELEMENTS = ["O", "C", "N", "H"]

#: Strain of the central differences; E''' is below 1e5 eV and E, of 2e4 eV, has 4e-12 eV of rounding.
STRAIN = 1e-5
STRAIN_TOLERANCE = 2e-5  # eV

#: `fix numdiff/virial` moves the atoms by this part of their place in the box, for E''' as above; bar relative to 1e5.
NUMDIFF = 1e-5
NUMDIFF_TOLERANCE = 1e-6

#: Of a central difference over 2 × 1e-5 ps, when forces change with up to 1e3 per ps.
FLUX_TOLERANCE = 1e-3

#: The error of the conserved enthalpy falls with the square of the timestep.
ORDER = 4.0


def test_finite_strain(tmp_path: Path, house_model_file: Path) -> None:
    atoms = triclinic_crystal()
    pair = hesspot_pair(house_model_file, ELEMENTS)
    cases = [Case(atoms, ELEMENTS, pair)]
    for a, b in VOIGT:
        for sign in (1, -1):
            strain = np.zeros((3, 3))
            strain[a, b] += 0.5 * sign * STRAIN
            strain[b, a] += 0.5 * sign * STRAIN
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
            cases.append(Case(strained, ELEMENTS, pair))
    point, *rest = single_points(tmp_path, cases, 2)
    virial = point.rotation @ point.virial @ point.rotation.T
    for (a, b), plus, minus in zip(VOIGT, rest[::2], rest[1::2], strict=True):
        work = -(plus.energy - minus.energy) / (2 * STRAIN)
        assert abs(virial[a, b] - work) < STRAIN_TOLERANCE, (a, b, virial[a, b], work)


def test_numdiff_virial(tmp_path: Path, house_model_file: Path) -> None:
    write_data(tmp_path / "start.data", water_crystal(), ELEMENTS)
    script = f"""units metal
atom_modify map yes
read_data start.data
{hesspot_pair(house_model_file, ELEMENTS)}
fix 1 all numdiff/virial 1 {NUMDIFF}
compute virial all pressure NULL virial
thermo_style custom step c_virial[*] f_1[*]
thermo_modify format float %.17g
run 0
"""
    row = last_row(run_succeeding(tmp_path, script, 2))
    exact, numerical = row[1:7], row[[7, 8, 9, 12, 11, 10]]  # the fix has Voigt's order
    assert abs(exact).max() > 1e4
    np.testing.assert_allclose(numerical, exact, atol=NUMDIFF_TOLERANCE * abs(exact).max(), rtol=0)


def last_row(output: str) -> np.ndarray:
    """The last row of the last thermodynamic table."""
    line = output.split("Loop time")[-2].strip().splitlines()[-1]
    return np.array([float(word) for word in line.split()])


def test_heat_flux_carries_the_moment_of_the_energy(tmp_path: Path, house_model_file: Path) -> None:
    """Without walls, d/dt of the sum of place times energy is the flux that `compute heat/flux` makes of the nine
    components; with the six of stress/atom it is another one, and wrong."""
    atoms = water_crystal()
    atoms.set_pbc(False)
    write_data(tmp_path / "start.data", atoms, ELEMENTS)
    script = f"""units metal
boundary f f f
read_data start.data
{hesspot_pair(house_model_file, ELEMENTS)}
velocity all create 600 11
fix 1 all nve
timestep 1e-5
compute ke all ke/atom
compute pe all pe/atom
compute nine all centroid/stress/atom NULL virial
compute six all stress/atom NULL virial
compute flux all heat/flux ke pe nine
compute flux6 all heat/flux ke pe six
variable x atom x*(c_ke+c_pe)
variable y atom y*(c_ke+c_pe)
variable z atom z*(c_ke+c_pe)
variable vx atom vx*(c_ke+c_pe)
variable vy atom vy*(c_ke+c_pe)
variable vz atom vz*(c_ke+c_pe)
compute moment all reduce sum v_x v_y v_z
compute carried all reduce sum v_vx v_vy v_vz
thermo_style custom step c_moment[*] c_carried[*] c_flux[1] c_flux[2] c_flux[3] c_flux6[1] c_flux6[2] c_flux6[3]
thermo_modify format float %.17g
thermo 1
run 2
"""
    output = run_succeeding(tmp_path, script, 2)
    table = re.split(r"\n\s*Step .*\n", output)[1].split("Loop time")[0]
    rows = np.array([line.split() for line in table.strip().splitlines()], dtype=float)
    carried = rows[1, 4:7]
    worked = (rows[2, 1:4] - rows[0, 1:4]) / 2e-5 - carried
    nine, six = rows[1, 7:10] - carried, rows[1, 10:13] - carried
    np.testing.assert_allclose(nine, worked, atol=FLUX_TOLERANCE * abs(worked).max(), rtol=0)
    assert abs(six - worked).max() > 10 * FLUX_TOLERANCE * abs(worked).max()


def enthalpy_error(folder: Path, model: Path, dt: float, steps: int) -> float:
    """The largest change of the conserved quantity, eV, in a run at constant pressure and temperature."""
    folder.mkdir()
    silicon: Atoms = bulk("Si", cubic=True) * (2, 2, 2)
    write_data(folder / "start.data", silicon, ["Si"])
    script = f"""units metal
read_data start.data
change_box all triclinic
{hesspot_pair(model, ["Si"], "max_edges 100")}
velocity all create 1200 3
fix 1 all npt temp 600 600 0.05 tri 0 0 0.2
timestep {dt}
thermo_style custom step econserve vol
thermo_modify format float %.17g
thermo {steps // 20}
run {steps}
"""
    output = run_succeeding(folder, script, 2)
    table = re.split(r"\n\s*Step .*\n", output)[1].split("Loop time")[0]
    rows = np.array([line.split() for line in table.strip().splitlines()], dtype=float)
    assert np.ptp(rows[:, 2]) > 10.0, "the box must breathe"
    return float(abs(rows[:, 1] - rows[0, 1]).max())


def test_npt_conserves_its_enthalpy_to_second_order(tmp_path: Path) -> None:
    file = tmp_path / "sw.pt"
    model = StillingerWeber()
    write_model(file, model, [fingerprint_entry(model, "Si", bulk("Si", cubic=True))])
    coarse = enthalpy_error(tmp_path / "coarse", file, 2e-3, 60)
    fine = enthalpy_error(tmp_path / "fine", file, 1e-3, 120)
    assert 0.7 * ORDER < coarse / fine < 1.4 * ORDER, (coarse, fine)
