"""Data files for LAMMPS against what ASE reads back, and against LAMMPS's own sum of masses."""

from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.constraints import FixAtoms
from lammps_runs import run_succeeding

from hesspot.errors import UserError
from hesspot.lammps.structure import boundary, write_data

pytestmark = pytest.mark.lammps

#: Å; sums of numbers near 10, as ASE reads tilts back.
ROUNDING = 1e-8
#: Relative; ASE's constants are those of CODATA 2014.
CONSTANTS = 1e-6


def half_heavy_water() -> Atoms:
    atoms = molecule("H2O")
    atoms.set_masses([17.999, 2.014, 1.008])
    return atoms


def read_back(path: Path) -> Atoms:
    return ase.io.read(path, format="lammps-data", atom_style="atomic", units="metal")


def test_isotopes_are_types_of_their_own(tmp_path: Path) -> None:
    atoms = half_heavy_water()
    write_data(tmp_path / "hdo.data", atoms, ["H", "O", "C", "H"])
    found = read_back(tmp_path / "hdo.data")
    np.testing.assert_array_equal(found.arrays["type"], [2, 4, 1])
    np.testing.assert_allclose(found.get_masses(), atoms.get_masses())
    script = f"""units metal
atom_style atomic
boundary {boundary(atoms)}
read_data hdo.data
pair_style zero 2.0
pair_coeff * *
run 0
print "sum of masses $(mass(all):%.6f)"
"""
    assert f"sum of masses {atoms.get_masses().sum():.6f}" in run_succeeding(tmp_path, script)


def test_one_mass_for_an_element_needs_one_type(tmp_path: Path) -> None:
    heavy = molecule("H2O")
    heavy.set_masses([15.999, 2.014, 2.014])
    write_data(tmp_path / "d2o.data", heavy, ["H", "O"])
    np.testing.assert_allclose(read_back(tmp_path / "d2o.data").get_masses(), heavy.get_masses())
    write_data(tmp_path / "ones.data", heavy, ["H", "O"], masses=[1.0, 1.0])
    np.testing.assert_allclose(read_back(tmp_path / "ones.data").get_masses(), 1.0)


def test_what_a_data_file_cannot_say_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"x.data has H of 2 masses \(1.008, 2.014 amu\).* name H 2 times"):
        write_data(tmp_path / "x.data", half_heavy_water(), ["H", "O"])
    held = molecule("H2O")
    held.set_constraint(FixAtoms([0]))
    with pytest.raises(UserError, match=r"atoms that a constraint holds.*setforce 0 0 0"):
        write_data(tmp_path / "x.data", held, ["H", "O"])
    for atoms in (Atoms(), Atoms("H2", [[0, 0, 0], [0, 0, 1e-4]]), Atoms("H", cell=np.diag([np.nan, 3, 3]), pbc=True)):
        with pytest.raises(UserError, match=r"x.data has"):
            write_data(tmp_path / "x.data", atoms, ["H", "O"])
    assert not (tmp_path / "x.data").exists()


@pytest.mark.parametrize("pbc", [True, [True, True, False], [False, False, True]])
def test_left_handed_cells_are_turned(tmp_path: Path, pbc) -> None:
    atoms = Atoms(
        "COH",
        scaled_positions=[[0, 0, 0], [0.4, 0.45, 0.5], [0.8, 0.1, 0.7]],
        cell=[[0.4, 4.2, 0.7], [4.5, 0.2, 0], [-0.5, 0.6, 4.8]],
        pbc=pbc,
    )
    rotation = write_data(tmp_path / "a.data", atoms, ["H", "C", "O"])
    assert np.linalg.det(atoms.cell.array) < 0
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    found = read_back(tmp_path / "a.data")
    np.testing.assert_allclose((found.cell.array > 0)[np.diag_indices(3)], True)
    lattice, turned = (atoms.cell.array @ rotation)[atoms.pbc], found.cell.array[atoms.pbc]
    np.testing.assert_allclose(np.abs(lattice), np.abs(turned), atol=ROUNDING)
    steps = np.linalg.lstsq(turned.T, lattice.T, rcond=None)[0]
    np.testing.assert_allclose(steps, np.round(steps), atol=ROUNDING)
    moved = (atoms.positions - atoms.positions[0]) @ rotation
    np.testing.assert_allclose(found.positions - found.positions[0], moved, atol=ROUNDING)


def test_velocities_are_those_of_the_structure(tmp_path: Path) -> None:
    atoms = half_heavy_water()
    atoms.set_cell([[0, 9, 0], [9, 0, 0], [0, 0, 9]])
    atoms.pbc = True
    atoms.set_momenta(np.random.default_rng(2).normal(size=(3, 3)))
    rotation = write_data(tmp_path / "a.data", atoms, ["H", "H", "O"])
    found = read_back(tmp_path / "a.data")
    assert not np.allclose(rotation, np.eye(3))
    np.testing.assert_allclose(found.get_velocities(), atoms.get_velocities() @ rotation, rtol=CONSTANTS)
    assert found.get_kinetic_energy() == pytest.approx(atoms.get_kinetic_energy(), rel=2 * CONSTANTS)
