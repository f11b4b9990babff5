"""Every case of `hesspot ipi-input` runs as it is written, and does what its name says."""

import re

import ase.io
import numpy as np
import pytest
from ipi_folders import run_folder, structures_evaluated, write_well
from typer.testing import CliRunner

from hesspot import derivatives
from hesspot.cli.main import app
from hesspot.contract import build_batch
from hesspot.errors import UserError
from hesspot.export import read_model, write_model
from hesspot.ipi.cases import CASES
from hesspot.models.ensemble import Member
from hesspot.structures import read_structures
from hesspot.units import HARTREE, HARTREE_PER_BOHR, IPI_AMU

pytestmark = pytest.mark.ipi

#: Ha: 14 digits printed by i-PI, through its own conversion factors of 8 digits for eV.
PRINTED = 1e-7

STEPS = 8


def ipi_input(case, structure, models, folder, *options):
    arguments = ["ipi-input", case, str(structure), *map(str, models), "--out", str(folder), *options]
    result = CliRunner().invoke(app, arguments)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output


def energy(model, atoms):
    loaded = read_model(model)
    return float(derivatives.evaluate(loaded, build_batch([atoms], loaded.elements, loaded.cutoff)).energy[0])


def test_constant_energy(water_model, tmp_path):
    ipi_input(
        "nve",
        water_model.with_name("start.xyz"),
        [water_model],
        tmp_path,
        "--steps",
        "40",
        "--stride",
        "1",
        "--timestep",
        "0.1",
    )
    run_folder(tmp_path)
    table = np.loadtxt(tmp_path / "simulation.out")
    assert abs(table[0, 5] - energy(water_model, ase.io.read(tmp_path / "start.xyz"))) < PRINTED * HARTREE
    # velocity Verlet: (ω dt)²/8 of the energy that goes back and forth, with ω dt < 0.08
    assert np.ptp(table[:, 2]) < 2e-3 * np.ptp(table[:, 5])
    assert structures_evaluated(tmp_path) == 41


#: What a case needs besides one model and one step.
OF_CASE = {"piglet": ["--gle", "gle.xml"], "instanton": ["--temperature", "150"]}


@pytest.mark.parametrize("case", sorted(CASES))
def test_every_case_runs_as_it_is_written(water_model, ensemble, molecule, tmp_path, monkeypatch, case):
    """With a few beads if it has any, those of a step in one batch; i-PI ends well, at the step it was asked for."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gle.xml").write_text(matrices(4, 300.0))
    model, start = water_model, ase.io.read(water_model.with_name("start.xyz"))
    if case == "committee":
        model, start = ensemble, molecule
    if case == "npt":
        start.set_cell(50 * np.eye(3))
        start.pbc = True
    if case == "instanton":
        model = tmp_path / "well.pt"
        start = write_well(model, k2=-7.5, k4=12.0, k=20.0)
    start.write("structure.xyz", format="extxyz")
    beads = 10 if case == "instanton" else 4 if CASES[case].beads > 1 else 1
    options = ["--steps", str(STEPS), "--stride", "1", "--beads", str(beads), *OF_CASE.get(case, [])]
    ipi_input(case, "structure.xyz", [model], tmp_path / "run", *options)
    log = run_folder(tmp_path / "run")
    assert (tmp_path / "run/RESTART").is_file()
    if case == "instanton":
        assert "Geometry optimization converged" in log
        assert len(list((tmp_path / "run").glob("simulation.instanton_FINAL_[0-9]*.xyz"))) == 1
        return
    tables = [np.loadtxt(path) for path in sorted((tmp_path / "run").glob("*simulation.out"))]
    assert [len(table) for table in tables] == [STEPS + 1] * (5 if case == "ti" else 1)
    assert all(np.isfinite(table).all() and np.ptp(table[:, 5 if case != "ti" else 4]) > 0 for table in tables)
    assert structures_evaluated(tmp_path / "run") == beads * (STEPS + 1) * len(tables)
    assert "<temperature units='kelvin'>300.0</temperature>" in (tmp_path / "run/input.xml").read_text()


def test_a_committee_is_the_mean_of_its_models(water_model, tmp_path):
    other = tmp_path / "well.pt"
    atoms = write_well(other, k2=5.0, k4=1.0, k=5.0)
    third = tmp_path / "softer.pt"
    write_well(third, k2=3.0, k4=2.0, k=2.0)
    atoms.rattle(0.1, seed=1)
    atoms.write(tmp_path / "start.xyz", format="extxyz")
    folder = tmp_path / "run"
    ipi_input("committee", tmp_path / "start.xyz", [other, third], folder, "--steps", str(STEPS), "--stride", "1")
    run_folder(folder)
    start = ase.io.read(folder / "start.xyz")
    members = [energy(model, start) for model in (other, third)]
    first = np.loadtxt(folder / "simulation.pots_0")[0]
    np.testing.assert_allclose(first * HARTREE, members, rtol=0, atol=PRINTED * HARTREE)
    assert abs(np.loadtxt(folder / "simulation.out")[0, 5] - np.mean(members)) < PRINTED * HARTREE


def test_models_of_different_levels_are_no_committee(water_model, tmp_path):
    atoms = ase.io.read(water_model.with_name("start.xyz"))
    loaded = read_model(water_model)
    files = []
    for level in ("RKS PBE/STO-3G", "UKS PBE/STO-3G", "GFN2-xTB"):
        files.append(tmp_path / f"{len(files)}.pt")
        write_model(files[-1], loaded.module, loaded.metadata.fingerprint, level_of_theory=level, allow_jump=True)
    atoms.write(tmp_path / "start.xyz")
    ipi_input("committee", tmp_path / "start.xyz", files[:2], tmp_path / "run")
    with pytest.raises(UserError, match=r"RKS PBE/STO-3G and GFN2-xTB, .*give models of one level"):
        ipi_input("committee", tmp_path / "start.xyz", files, tmp_path / "mixed")
    assert not (tmp_path / "mixed").exists()


def test_a_committee_in_one_file(ensemble, molecule, tmp_path):
    """i-PI's mean, spread and members are those of the model's own members; structures in doubt are kept."""
    molecule.write(tmp_path / "start.xyz", format="extxyz")
    folder = tmp_path / "run"
    options = ["--steps", "2", "--stride", "1", "--beads", "4", "--threshold", "1e-9"]
    ipi_input("committee", tmp_path / "start.xyz", [ensemble], folder, *options)
    run_folder(folder)
    start = ase.io.read(folder / "start.xyz")
    committee = read_model(ensemble)
    batch = build_batch([start], committee.elements, committee.cutoff)
    members = [derivatives.evaluate(Member(committee.module, number), batch) for number in range(3)]
    energies = np.array([float(member.energy[0]) for member in members])
    assert np.ptp(energies) > 100 * PRINTED * HARTREE
    for bead in range(4):
        pots = np.loadtxt(folder / f"simulation.pots_{bead}")
        np.testing.assert_allclose(pots[0] * HARTREE, energies, rtol=0, atol=PRINTED * HARTREE)
        spread = np.loadtxt(folder / f"simulation.spread_{bead}")
        np.testing.assert_allclose(spread[0], np.std(pots[0], ddof=1), rtol=0, atol=PRINTED)
        printed = (folder / f"simulation.forces_{bead}").read_text().splitlines()[1:4]
        forces = np.array([[float(word) for word in line.split()] for line in printed])
        wanted = np.array([member.forces.numpy().ravel() for member in members]) / HARTREE_PER_BOHR
        np.testing.assert_allclose(forces, wanted, rtol=0, atol=PRINTED)
    assert abs(np.loadtxt(folder / "simulation.out")[0, 5] - energies.mean()) < PRINTED * HARTREE
    assert structures_evaluated(folder) == 4 * 3
    frames = read_structures(folder / "doubtful.xyz")
    assert len(frames) == 1 + 2 * 4  # the beads begin at one place
    for frame in frames:
        assert str(frame.symbols) == str(start.symbols) and not frame.pbc.any()
        batch = build_batch([frame], committee.elements, committee.cutoff)
        energies = [float(derivatives.evaluate(Member(committee.kernel, k), batch).energy[0]) for k in range(3)]
        assert abs(frame.info["energy_deviation"] - np.std(energies, ddof=1)) < PRINTED * HARTREE


def matrices(n_beads, kelvin, centroid=None):
    """A file of matrices as GLE4MD writes them: white noise and one more momentum, at equilibrium."""
    drift = np.tile([[5e-4, 2e-4], [-2e-4, 1e-3]], (n_beads, 1, 1))
    covariance = np.tile(n_beads * kelvin * np.eye(2), (n_beads, 1, 1))
    covariance[0] *= (centroid or kelvin) / kelvin
    shape, numbers = f"shape='({n_beads},2,2)'", [", ".join(map(str, m.ravel())) for m in (drift, covariance)]
    return f"<A {shape}>[{numbers[0]}]</A>\n<C {shape} units='kelvin'>[{numbers[1]}]</C>"


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        (None, [], "--gle"),
        (matrices(4, 250.0), ["--temperature", "300"], "are for 250 K, not for 300 K"),
        (matrices(4, 300.0), ["--beads", "6"], "not for 6 beads"),
        (matrices(4, 300.0, centroid=75.0), [], "are for 75 K"),
        (matrices(4, 300.0).replace("0.0005", "-0.0005"), [], "are those of no thermostat"),
        (matrices(4, 300.0).replace("(4,2,2)", "(4,3,3)"), [], "is no array"),
        (matrices(4, 300.0).replace("<C", "<B").replace("/C", "/B"), [], "0 elements C"),
        ("<A>", [], "is no XML"),
    ],
)
def test_matrices_that_do_not_fit(water_model, tmp_path, text, options, words):
    options = ["--beads", "4", "--temperature", "300", *options]
    if text is not None:
        (tmp_path / "gle.xml").write_text(text)
        options += ["--gle", str(tmp_path / "gle.xml")]
    with pytest.raises(UserError, match=words):
        ipi_input("piglet", water_model.with_name("start.xyz"), [water_model], tmp_path / "run", *options)


def test_thermodynamic_integration(water_model, tmp_path):
    """The reference is the harmonic expansion around the minimum; the couplings are those of the quadrature."""
    ipi_input(
        "ti",
        water_model.with_name("start.xyz"),
        [water_model],
        tmp_path,
        "--steps",
        "2",
        "--stride",
        "1",
        "--points",
        "2",
    )
    run_folder(tmp_path)
    start = ase.io.read(tmp_path / "start.xyz")
    assert abs(np.abs(start.get_distance(0, 1)) - 0.96) < 1e-7
    for number, coupling in enumerate(0.5 + np.array([-0.5, 0.5]) / np.sqrt(3.0)):
        assert f"weight='{coupling:.12f}"[:-2] in (tmp_path / "input.xml").read_text()
        table = np.loadtxt(tmp_path / f"l{number}_simulation.out")
        assert np.abs(table[0, 3:]).max() < PRINTED * HARTREE
        # three atoms at 300 K, half of their kinetic energy turned into potential energy at most
        assert 0.0 < table[-1, 3] < 0.5
        assert 0.0 < abs(table[-1, 4] - table[-1, 3]) < 0.1


def test_masses_of_isotopes_reach_ipi(water_model, tmp_path):
    heavy = ase.io.read(water_model.with_name("start.xyz"))
    heavy.set_masses([15.999, 2.014, 2.014])
    heavy.write(tmp_path / "heavy.xyz", format="extxyz")
    ipi_input("nvt", tmp_path / "heavy.xyz", [water_model], tmp_path / "run", "--steps", "1", "--stride", "1")
    run_folder(tmp_path / "run")
    restart = (tmp_path / "run/RESTART").read_text()
    masses = re.findall(r"<m shape='\(3\)'>\s*\[(.*?)\]", restart, flags=re.DOTALL)[0]
    np.testing.assert_allclose([float(m) for m in masses.split(",")], heavy.get_masses() * IPI_AMU, rtol=1e-12)


@pytest.mark.parametrize(
    ("case", "n_models", "options", "words"),
    [
        ("nvt", 2, [], "every other case one"),
        ("committee", 1, [], "is one model"),
        ("nvt", 1, ["--temperature", "0"], "temperature of an i-PI run is 0"),
        ("pimd", 1, ["--beads", "-3"], "beads of an i-PI run is -3"),
    ],
)
def test_what_cannot_be_run(water_model, tmp_path, case, n_models, options, words):
    with pytest.raises(UserError, match=words):
        ipi_input(case, water_model.with_name("start.xyz"), [water_model] * n_models, tmp_path / "run", *options)


def test_a_failing_driver_ends_the_run(water_model, tmp_path):
    """run.sh neither hangs nor leaves i-PI behind when the model is not there any more."""
    ipi_input("nvt", water_model.with_name("start.xyz"), [water_model], tmp_path, "--steps", "1000")
    text = (tmp_path / "run.sh").read_text()
    (tmp_path / "run.sh").write_text(text.replace("water.pt", "gone.pt"))
    with pytest.raises(AssertionError, match=r"gone\.pt"):
        run_folder(tmp_path)
