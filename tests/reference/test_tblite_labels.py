"""Labels with tblite: against its energies, published-style checks by differences, and ASE's own calculator."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from typer.testing import CliRunner

from hesspot.cli.main import app
from hesspot.data import Dataset, Record
from hesspot.data.quality import check_record
from hesspot.errors import UserError
from hesspot.units import BOHR, HARTREE

pytest.importorskip("tblite")
from tblite.ase import TBLite
from tblite.interface import Calculator

from hesspot.reference.labelling import complete, label_file
from hesspot.reference.tblite_labels import TbliteMethod

GFN1 = TbliteMethod(method="GFN1-xTB")
#: eV, eV/Å, eV/Å³: tblite's own ASE calculator at the same accuracy; the two round its constants differently.
SAME = 1e-5
#: eV/Å: energies of accuracy 1e-4 are good to 1e-8 eV; a step of 1e-3 Å leaves 1e-5 of noise and as much truncation.
FORCE_BY_DIFFERENCES = 1e-4
#: eV/Å³, from the same energies, for a cell of 64 Å³ and strains of 1e-3.
STRESS_BY_DIFFERENCES = 1e-5
#: eV/Å²: the step of 1e-3 bohr against one four times as long, whose truncation is sixteen times as large.
HESSIAN_STEP = 5e-3
#: eV/Å²: noise of products and of Hessians from differences.
PRODUCT = 2e-3
#: cm⁻¹
WAVENUMBER = 1.0


def bent_water() -> Atoms:
    atoms = molecule("H2O")
    atoms.rattle(0.05, seed=1)
    return atoms


def ice_box() -> Atoms:
    atoms = molecule("H2O")
    atoms.set_cell([4.0, 3.8, 4.3])
    atoms.pbc = True
    atoms.rattle(0.05, seed=2)
    return atoms


@pytest.mark.parametrize("method", ["GFN1-xTB", "GFN2-xTB"])
@pytest.mark.parametrize("make", [bent_water, ice_box])
def test_energy_forces_and_stress_are_those_of_tblites_calculator(method: str, make) -> None:
    atoms = make()
    labels = TbliteMethod(method=method).labels(atoms, hessian=False)
    atoms.calc = TBLite(method=method, accuracy=1e-4, verbosity=0)
    assert labels.energy == pytest.approx(atoms.get_potential_energy(), abs=SAME * abs(labels.energy))
    np.testing.assert_allclose(labels.forces, atoms.get_forces(), atol=SAME * np.abs(labels.forces).max())
    if atoms.pbc.any():
        stress = atoms.get_stress(voigt=False)
        np.testing.assert_allclose(labels.stress, stress, atol=SAME * np.abs(stress).max())
    else:
        assert labels.stress is None


def test_forces_and_stress_are_derivatives_of_the_energy() -> None:
    atoms = ice_box()
    labels = GFN1.labels(atoms, hessian=False)
    step = 1e-3

    def energy(displacement: np.ndarray, strain: np.ndarray) -> float:
        moved = atoms.copy()
        moved.positions += displacement
        moved.set_cell(moved.cell.array @ (np.eye(3) + strain), scale_atoms=True)
        return GFN1.labels(moved, hessian=False).energy

    none = np.zeros((3, 3))
    for entry in [(0, 0), (1, 1), (2, 2)]:
        unit = np.zeros((3, 3))
        unit[entry] = step
        force = -(energy(unit, none) - energy(-unit, none)) / (2 * step)
        assert labels.forces[entry] == pytest.approx(force, abs=FORCE_BY_DIFFERENCES)
        stress = (energy(none, unit) - energy(none, -unit)) / (2 * step * atoms.get_volume())
        assert labels.stress is not None
        assert labels.stress[entry] == pytest.approx(stress, abs=STRESS_BY_DIFFERENCES)
    assert np.abs(labels.forces).max() > 100 * FORCE_BY_DIFFERENCES
    assert np.abs(labels.stress).max() > 100 * STRESS_BY_DIFFERENCES


def test_hessian_obeys_the_sum_rules_and_does_not_depend_on_the_step() -> None:
    atoms = molecule("H2O")
    record = complete(Record.from_atoms(atoms, "water"), GFN1, hessian=True)
    assert all(finding.passed for finding in check_record(record))
    longer = TbliteMethod(method="GFN1-xTB", step=4e-3).labels(atoms, hessian=True)
    np.testing.assert_allclose(record.hessian, longer.hessian, atol=HESSIAN_STEP)
    assert record.properties["asymmetry"] < PRODUCT


def test_products_are_those_of_the_hessian() -> None:
    record = Record.from_atoms(bent_water(), "water")
    done = complete(record, GFN1, hessian=True, products=3)
    np.testing.assert_allclose(np.linalg.norm(done.directions, axis=(1, 2)), 3.0)
    expected = (done.directions.reshape(3, 9) @ done.hessian).reshape(3, 3, 3)
    np.testing.assert_allclose(done.products, expected, atol=PRODUCT)
    again = complete(record, GFN1, hessian=False, products=3)
    np.testing.assert_array_equal(again.directions, done.directions)
    assert again.hessian is None
    assert np.abs(np.cross(done.directions[0], done.directions[1])).max() > 0.1


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "in.xyz"
    ase.io.write(file, [bent_water(), ice_box(), molecule("NH3")])
    return file


def test_command_line(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.h5"
    options = ["--program", "tblite", "--method", "GFN1-xTB", "--no-hessian", "--products", "2"]
    result = CliRunner().invoke(app, ["label", str(source), "--out", str(out), *options])
    assert result.exit_code == 0, result.output
    dataset = Dataset.read(out)
    assert dataset.level_of_theory == "GFN1-xTB (tblite)"
    assert dataset.provenance["method"]["accuracy"] == GFN1.accuracy
    assert [record.stress is not None for record in dataset] == [False, True, False]
    assert all(record.hessian is None and record.products is not None for record in dataset)


def test_ranks_of_mpirun_give_what_one_process_gives(source: Path, tmp_path: Path) -> None:
    pytest.importorskip("mpi4py")
    mpirun = shutil.which("mpirun", path=sysconfig.get_path("scripts")) or shutil.which("mpirun")
    one = label_file(source, tmp_path / "one.h5", GFN1, hessian=False, products=1)
    command = [mpirun, "-n", "2", sys.executable, "-m", "mpi4py.futures", "-m", "hesspot", "label", source]
    command += ["--out", tmp_path / "two.h5", "--program", "tblite", "--method", "GFN1-xTB", "--no-hessian"]
    command += ["--products", "1", "--mpi"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for a, b in zip(one, Dataset.read(tmp_path / "two.h5"), strict=True):
        assert a.name == b.name
        assert a.energy == pytest.approx(b.energy, abs=1e-8)
        np.testing.assert_allclose(a.products, b.products, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--program", "gaussian"], "use one of pyscf, tblite"),
        (["--program", "tblite", "--method", "PM6"], "GFN1-xTB or GFN2-xTB"),
        (["--program", "tblite", "--xc", "PBE"], "--xc belongs to --program pyscf"),
        (["--method", "GFN1-xTB"], "belongs to --program tblite"),
        (["--program", "tblite", "--products", "-1"], "--products -1"),
    ],
)
def test_bad_options(options: list[str], words: str, source: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["label", str(source), "--out", str(tmp_path / "out.h5"), *options])
    assert isinstance(result.exception, UserError)
    assert words in str(result.exception)
    assert "\n" not in str(result.exception)


@pytest.mark.parametrize(("symbols", "words"), [("OH", "odd number of electrons"), ("Fm2", "cannot be set up")])
def test_structures_that_cannot_be_computed(symbols: str, words: str) -> None:
    atoms = Atoms(symbols, [[0, 0, 0], [0, 0, 1.0]])
    with pytest.raises(UserError, match=words):
        GFN1.check_input(atoms, "it")


@pytest.mark.parametrize("pbc", [(True, True, False), (False, False, True)])
def test_slabs_and_wires_are_refused(pbc: tuple[bool, bool, bool]) -> None:
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 0.8]], cell=[8, 8, 8], pbc=pbc)
    with pytest.raises(UserError, match="only, tblite knows"):
        GFN1.check_input(atoms, "it")
    for remedy in (True, False):
        atoms.pbc = remedy
        GFN1.check_input(atoms, "it")


def test_ions_of_tight_binding_are_ions() -> None:
    anion = Atoms("OH", [[0, 0, 0], [0, 0, 0.97]], info={"charge": -1})
    theirs = Calculator("GFN1-xTB", anion.numbers, anion.positions / BOHR, charge=-1.0)
    theirs.set("verbosity", 0)
    ours = GFN1.labels(anion, hessian=False).energy
    assert ours == pytest.approx(theirs.singlepoint().get("energy") * HARTREE, abs=1e-5)
    radical = Atoms("OH", anion.positions, info={"multiplicity": 2})
    assert abs(GFN1.labels(radical, hessian=False).energy - ours) > 1.0
