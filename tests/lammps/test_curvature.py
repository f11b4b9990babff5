"""`hesspot lammps hessian|modes|vdos` in real LAMMPS, against the model in Python and LAMMPS's dynamical_matrix."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from lammps_runs import hesspot_pair, scatter_ids
from structures import water_crystal
from typer.testing import CliRunner

from hesspot.analysis.normal_modes import normal_modes
from hesspot.cli.lammps import app
from hesspot.contract import build_batch
from hesspot.derivatives import hessian
from hesspot.errors import UserError
from hesspot.export import read_model
from hesspot.export.file import eager_model
from hesspot.lammps.curvature_run import run_curvature
from hesspot.lammps.modes import RESIDUAL, broadened
from hesspot.lammps.structure import boundary, write_data
from hesspot.units import SQRT_EV_PER_A2_AMU

pytestmark = pytest.mark.lammps

ELEMENTS = ["O", "C", "N", "H"]  # not the model's order

ROUNDING = 1e-9  # eV/Å²

#: Truncation of dynamical_matrix's central differences with SHIFT, of the largest element.
DIFFERENCES, SHIFT = 1e-5, 5e-5


def model_hessian(model: Path, atoms: Atoms) -> np.ndarray:
    loaded = eager_model(read_model(model))
    return hessian(loaded, build_batch([atoms], loaded.elements, loaded.cutoff))[0].numpy()


def script(folder: Path, atoms: Atoms, model: Path, after: str = "", scattered: bool = False) -> Path:
    """An input script for atoms whose cell is LAMMPS's own."""
    assert np.array_equal(write_data(folder / "atoms.data", atoms, ELEMENTS), np.eye(3))
    if scattered:
        scatter_ids(folder / "atoms.data")
    path = folder / "in.atoms"
    path.write_text(f"""units metal
atom_style atomic
atom_modify map yes
boundary {boundary(atoms)}
read_data atoms.data
{hesspot_pair(model, ELEMENTS)}
{after}
""")
    return path


def asked(kind: str, path: Path, name: str, ranks: int, **options: object) -> str:
    ended = run_curvature(kind, path, path.parent / name, ranks=ranks, workdir=path.parent, capture=True, **options)
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_hessian_is_the_models_own(tmp_path: Path, house_model_file: Path, ranks: int) -> None:
    atoms = water_crystal()
    path = script(tmp_path, atoms, house_model_file, scattered=True)
    output = asked("hessian", path, "hessian.npy", ranks)
    told = float(output.split("asymmetry before symmetrising: ")[1].split()[0])
    assert told <= ROUNDING
    matrix = np.load(tmp_path / "hessian.npy")
    assert np.array_equal(matrix, matrix.T)
    backwards = atoms[::-1]  # the order of the IDs
    np.testing.assert_allclose(matrix, model_hessian(house_model_file, backwards), atol=ROUNDING, rtol=0)


def test_mass_weighted_hessian_is_the_dynamical_matrix(tmp_path: Path, house_model_file: Path) -> None:
    atoms = molecule("CH3OH")
    command = f"run 0\ndynamical_matrix all regular {SHIFT} file theirs binary yes"
    path = script(tmp_path, atoms, house_model_file, command)
    asked("hessian", path, "ours.h5", 1, mass_weighted=True)
    theirs = np.fromfile(tmp_path / "theirs").reshape(18, 18)
    with h5py.File(tmp_path / "ours.h5") as file:
        ours = file["hessian"][:]
        assert file["hessian"].attrs["unit"] == "eV/(angstrom^2 amu)"
        np.testing.assert_allclose(file["masses"][:], atoms.get_masses())
        assert file["ids"][:].tolist() == [1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose(ours, theirs, atol=DIFFERENCES * abs(theirs).max(), rtol=0)


def test_group_is_a_block(tmp_path: Path, house_model_file: Path) -> None:
    atoms = water_crystal()
    path = script(tmp_path, atoms, house_model_file, "group some id 3:7 12")
    asked("hessian", path, "block.npy", 2, group="some")
    rows = np.repeat(np.isin(np.arange(1, len(atoms) + 1), [3, 4, 5, 6, 7, 12]), 3)
    expected = model_hessian(house_model_file, atoms)[np.ix_(rows, rows)]
    np.testing.assert_allclose(np.load(tmp_path / "block.npy"), expected, atol=ROUNDING, rtol=0)


def test_modes_of_a_molecule(tmp_path: Path, house_model_file: Path) -> None:
    """The small way, with translations and rotations taken out."""
    atoms = molecule("CH3OH")
    path = script(tmp_path, atoms, house_model_file)
    output = asked("modes", path, "modes.npz", 1, n_modes=50)
    assert "6 rigid modes were left out" in output
    expected = normal_modes(atoms, model_hessian(house_model_file, atoms)).frequencies
    np.testing.assert_allclose(np.load(tmp_path / "modes.npz")["frequencies"], expected, rtol=1e-8)


@pytest.mark.parametrize("ranks, highest", [(1, False), (2, False), (2, True)])
def test_iterative_modes(tmp_path: Path, house_model_file: Path, ranks: int, highest: bool) -> None:
    """The way of large systems, with the matrix and without."""
    atoms = water_crystal() * (2, 2, 2)
    atoms.rattle(0.05, seed=8)
    atoms.wrap()
    path = script(tmp_path, atoms, house_model_file)
    asked("modes", path, "modes.npz", ranks, n_modes=6, highest=highest, dense=0)
    found = np.load(tmp_path / "modes.npz")
    expected = normal_modes(atoms, model_hessian(house_model_file, atoms)).frequencies
    expected = expected[-6:] if highest else expected[:6]
    tolerance = RESIDUAL * SQRT_EV_PER_A2_AMU**2 / (2 * abs(expected))
    assert (abs(found["frequencies"] - expected) <= tolerance).all()
    assert found["vectors"].shape == (6, len(atoms), 3)


@pytest.mark.parametrize("assemble", [False, True])
def test_density_of_states(tmp_path: Path, house_model_file: Path, assemble: bool) -> None:
    atoms = water_crystal()
    path = script(tmp_path, atoms, house_model_file)
    asked("vdos", path, "vdos.csv", 2, n_vectors=10, n_steps=60, width=60.0, assemble=assemble)
    grid, density, error = np.loadtxt(tmp_path / "vdos.csv", delimiter=",").T
    frequencies = normal_modes(atoms, model_hessian(house_model_file, atoms)).frequencies
    reference = broadened(grid, frequencies, 60.0)
    assert (abs(density - reference) <= 5 * error + 1e-3 * reference.max()).all()
    np.testing.assert_allclose(density.sum() * (grid[1] - grid[0]), len(frequencies), rtol=1e-5)


def test_failures_are_one_line(tmp_path: Path, house_model_file: Path) -> None:
    path = script(tmp_path, molecule("H2O"), house_model_file)
    for group, words in [("none", "group none is not defined"), ("empty", "group empty has no atoms")]:
        path.write_text(path.read_text() + "group empty id 99\n")
        ended = run_curvature("hessian", path, tmp_path / "h.npy", ranks=2, capture=True, workdir=tmp_path, group=group)
        assert ended.returncode != 0 and ended.stdout.count("hesspot: ") == 1 and words in ended.stdout, ended.stdout
    path.write_text("units nonsense\n")
    ended = run_curvature("hessian", path, tmp_path / "h.npy", ranks=2, capture=True, workdir=tmp_path)
    assert ended.returncode != 0 and "Unknown units style nonsense" in ended.stdout and "Traceback" not in ended.stdout


ZBL = """pair_style hybrid/overlay hesspot zbl 1.0 2.0
pair_coeff * * hesspot "{model}" O C N H
pair_coeff 1 1 zbl 8 8
pair_coeff 2 2 zbl 6 6
pair_coeff 3 3 zbl 7 7
pair_coeff 4 4 zbl 1 1"""

NITROGEN_ALONE = """pair_style hybrid/overlay hesspot zbl 1.0 2.0
pair_coeff * * hesspot "{model}" O C N H
pair_coeff 3 3 zbl 7 7"""

BONDS = """bond_style harmonic
bond_coeff 1 20.0 1.0
special_bonds lj/coul 1 1 1
create_bonds single/bond 1 1 2"""


@pytest.mark.parametrize(
    "commands, words",
    [
        (ZBL, "pair_style zbl"),
        ("fix tether all spring/self 5.0", "fix tether (spring/self)"),
        ("fix hold all setforce 0 0 0", "fix hold (setforce)"),
        ("fix bodies all rigid single", "fix bodies (rigid)"),
        (BONDS, "bond_style harmonic"),
        # all that follows leaves the group's curvature to the model
        ("fix friction all viscous 1.0", None),
        ("fix hold held setforce 0 0 0", None),
        ("fix tether held spring/self 5.0", None),
        (f"{BONDS}\nbond_style zero\nbond_coeff * 1.0", None),
        (NITROGEN_ALONE, None),
    ],
)
def test_what_else_acts_is_refused(tmp_path: Path, house_model_file: Path, commands: str, words: str | None) -> None:
    """Either a Hessian is dynamical_matrix's, in which every force counts, or there is none."""
    atoms = molecule("CH3OH")
    path = script(tmp_path, atoms, house_model_file)
    text = (tmp_path / "atoms.data").read_text().replace("Atoms  # atomic", "Atoms  # bond")
    head, rows = text.split("# bond\n\n")
    rows = "\n".join(" ".join([number, "1", rest]) for number, rest in (row.split(" ", 1) for row in rows.splitlines()))
    (tmp_path / "atoms.data").write_text(f"{head}# bond\n\n{rows}\n")
    path.write_text(
        path.read_text()
        .replace("atom_style atomic", "atom_style bond")
        .replace("read_data atoms.data", "read_data atoms.data extra/bond/types 1 extra/bond/per/atom 2")
        + f"""group moving id 1:4
group held subtract all moving
{commands.replace("{model}", str(house_model_file))}
run 0
dynamical_matrix moving regular {SHIFT} file theirs binary yes
"""
    )
    ended = run_curvature(
        "hessian", path, tmp_path / "ours.npy", capture=True, workdir=tmp_path, group="moving", mass_weighted=True
    )
    if words is not None:
        assert ended.returncode != 0 and f"are subject to {words}, whose curvature" in ended.stdout, ended.stdout
        assert not (tmp_path / "ours.npy").exists()
        return
    assert ended.returncode == 0, ended.stdout
    theirs = np.fromfile(tmp_path / "theirs").reshape(12, 12)
    np.testing.assert_allclose(np.load(tmp_path / "ours.npy"), theirs, atol=DIFFERENCES * abs(theirs).max(), rtol=0)


def test_warnings_of_lammps_are_shown(tmp_path: Path, house_model_file: Path) -> None:
    path = script(tmp_path, molecule("H2O"), house_model_file, after="fix 1 all nve\nfix 2 all nve\nrun 1")
    assert "WARNING: One or more atoms are time integrated more than once" in asked("hessian", path, "h.npy", 2)


@pytest.mark.parametrize("kind, name", [("hessian", "h.npy"), ("modes", "m.npz"), ("vdos", "v.csv")])
def test_a_script_that_quits_is_a_failure(tmp_path: Path, house_model_file: Path, kind: str, name: str) -> None:
    """Also where there is a file of an earlier run, which stays as it is."""
    path = script(tmp_path, molecule("H2O"), house_model_file, after="quit")
    (tmp_path / name).write_text("an earlier result")
    with pytest.raises(UserError, match=f"ended before .*{name} was written.*quit"):
        asked(kind, path, name, 2)
    assert (tmp_path / name).read_text() == "an earlier result"


def numbers_in(path: Path) -> np.ndarray:
    if path.suffix == ".csv":
        return np.loadtxt(path, delimiter=",")
    content = np.load(path)
    return content if path.suffix == ".npy" else content["frequencies"]


@pytest.mark.parametrize("kind, name", [("hessian", "h.npy"), ("modes", "m.npz"), ("vdos", "v.csv")])
def test_an_earlier_result_is_replaced_on_demand_alone(
    tmp_path: Path, house_model_file: Path, monkeypatch: pytest.MonkeyPatch, kind: str, name: str
) -> None:
    """In a script that names its files as seen from the folder that `shell cd` has gone to."""
    path = script(tmp_path, molecule("H2O"), Path("../model.pt"))
    path.write_text(path.read_text().replace("read_data ", "shell mkdir sub\nshell cd sub\nread_data ../"))
    shutil.copyfile(house_model_file, tmp_path / "model.pt")
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text("an earlier result")
    ended = CliRunner().invoke(app, [kind, path.name, "--out", name])
    assert isinstance(ended.exception, UserError) and f"{name} exists already; pass --overwrite" in str(ended.exception)
    assert (tmp_path / name).read_text() == "an earlier result"
    ended = CliRunner().invoke(app, [kind, path.name, "--out", name, "--overwrite", "-n", "2"])
    assert ended.exit_code == 0, ended.output
    found = numbers_in(tmp_path / name)
    assert np.isfinite(found).all() and not any(tmp_path.glob("sub/*"))
    if kind == "hessian":
        expected = model_hessian(house_model_file, molecule("H2O"))
        np.testing.assert_allclose(found, expected, atol=ROUNDING, rtol=0)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["hessian", "in.atoms", "--out", "h.txt"], "written as .npy or as .h5"),
        (["modes", "in.atoms", "--number", "0"], "one mode or more"),
        (["modes", "in.atoms", "--out", "m.csv"], "written as .npz"),
        (["vdos", "in.atoms", "--width", "0"], "must be positive"),
        (["vdos", "in.missing"], "does not exist"),
        (["vdos", "in.atoms", "--out", "nowhere/v.csv"], "make it first"),
    ],
)
def test_the_command_line_refuses(arguments: list[str], words: str) -> None:
    ended = CliRunner().invoke(app, arguments)
    assert isinstance(ended.exception, UserError) and words in str(ended.exception)
