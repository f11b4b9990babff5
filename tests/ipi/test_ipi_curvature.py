"""Analytic Hessians in real i-PI runs, against what i-PI finds with its own finite differences."""

import re

import ase.io
import numpy as np
import pytest
from ipi.utils.units import Constants
from ipi_folders import change, run_folder, structures_evaluated, write_water, write_well
from typer.testing import CliRunner

from hesspot import derivatives
from hesspot.analysis.normal_modes import normal_modes
from hesspot.analysis.stationary import stationary_point
from hesspot.calculators import HesspotCalculator
from hesspot.cli.main import app
from hesspot.contract import build_batch
from hesspot.errors import UserError
from hesspot.export import read_model
from hesspot.units import AMU_A2_PER_FS2, BOLTZMANN, HARTREE, HARTREE_PER_BOHR2, HBAR, INVERSE_CM, IPI_AMU

pytestmark = pytest.mark.ipi

#: Ha/Bohr²: i-PI's displacements of 1e-3 Bohr and fourth derivatives of some Ha/Bohr⁴.
DIFFERENCES = 2e-6

#: Ha/Bohr²: 17 digits through a text file and a mass weighting.
ROUNDING = 1e-13

#: Ha: i-PI prints 9 digits of the free energies, which it finds by sums over grids.
PRINTED = 2e-8

#: Ha: i-PI cuts each mode's potential off at ten times its harmonic energy; at twenty times 2e-7 are left.
CONVERGED = 3e-6

SIZE = 9


@pytest.fixture(scope="module")
def water(tmp_path_factory):
    path = tmp_path_factory.mktemp("water") / "water.pt"
    atoms = write_water(path)
    atoms.write(path.with_name("minimum.xyz"), format="extxyz")
    moved = atoms.copy()
    moved.rattle(0.02, seed=2)
    moved.write(path.with_name("moved.xyz"), format="extxyz")
    ase.Atoms("OH2", [[0, 0, 0], [0, 0, 0.96], [0, 0, -0.96]]).write(path.with_name("linear.xyz"))
    ase.io.write(path.with_name("path.xyz"), [atoms, moved])
    return path


def ipi_hessian(model, geometry, purpose, folder, *options):
    result = CliRunner().invoke(
        app, ["ipi-hessian", str(model), str(geometry), "--for", purpose, "--out", str(folder), *options]
    )
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return int(re.findall(r"(\d+) force calls", result.stdout)[0])


@pytest.fixture(scope="module")
def by_differences(water, tmp_path_factory):
    """Folder in which i-PI has made the Hessian of the minimum itself."""
    folder = tmp_path_factory.mktemp("differences") / "fd"
    ipi_hessian(water, water.with_name("minimum.xyz"), "imf", folder)
    motion = """<motion mode='vibrations'><vibrations mode='fd'>
        <pos_shift>0.001</pos_shift><asr>none</asr><prefix>own</prefix></vibrations></motion>"""
    text = (folder / "input.xml").read_text()
    (folder / "input.xml").write_text(re.sub(r"<motion.*</motion>", motion, text, flags=re.DOTALL))
    run_folder(folder)
    return folder


def without_rigid_motions(atoms, hessian):
    """The projection that i-PI's `poly` means: mass-weighted translations and rotations, made orthonormal by QR."""
    root = np.sqrt(np.repeat(atoms.get_masses(), 3))
    arms = atoms.positions - atoms.get_center_of_mass()
    rigid = [np.tile(axis, len(atoms)) for axis in np.eye(3)] + [np.cross(axis, arms).ravel() for axis in np.eye(3)]
    q, _ = np.linalg.qr((np.array(rigid) * root).T)
    projection = np.eye(len(root)) - q @ q.T
    return projection @ (hessian / np.outer(root, root)) @ projection * np.outer(root, root)


def test_masses_are_those_of_ipi():
    assert Constants.amu == IPI_AMU


def test_vibrations_without_any_displacement(water, by_differences, tmp_path):
    saved = ipi_hessian(water, water.with_name("minimum.xyz"), "vibrations", tmp_path)
    run_folder(tmp_path)
    answer = np.loadtxt(tmp_path / "simulation.phonons.hess")
    own = np.loadtxt(by_differences / "simulation.own.hess")
    (start,) = ase.io.read(tmp_path / "start.xyz", ":")
    model = read_model(water)
    (exact,) = derivatives.hessian(model, build_batch([start], model.elements, model.cutoff))
    exact = without_rigid_motions(start, exact.numpy())
    np.testing.assert_allclose(answer, exact / HARTREE_PER_BOHR2, rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(answer, own, rtol=0, atol=DIFFERENCES)
    assert not list(tmp_path.glob("driver-*.log"))
    assert structures_evaluated(by_differences) >= saved == 2 * SIZE
    print(f"vibrations: {structures_evaluated(by_differences)} force calls without, 0 with the analytic Hessian")


def test_ffdebye_is_the_quadratic_form_of_the_model(water, by_differences, tmp_path):
    """i-PI's differences of its own harmonic force field give the matrix back that it was given."""
    ipi_hessian(water, water.with_name("minimum.xyz"), "ffdebye", tmp_path)
    text = (tmp_path / "input.xml").read_text()
    motion = "<motion mode='vibrations'><vibrations mode='fd'><asr>none</asr><prefix>own</prefix></vibrations></motion>"
    (tmp_path / "input.xml").write_text(
        re.sub(r"<motion.*</motion>", motion, text, flags=re.DOTALL).replace("stride='10'", "stride='1'")
    )
    run_folder(tmp_path)
    given = np.loadtxt(tmp_path / "hessian.dat")
    np.testing.assert_allclose(np.loadtxt(tmp_path / "simulation.own.hess"), given, rtol=0, atol=1e-9)
    np.testing.assert_allclose(np.loadtxt(by_differences / "simulation.own.hess"), given, rtol=0, atol=DIFFERENCES)
    model = read_model(water)
    batch = build_batch([ase.io.read(tmp_path / "start.xyz")], model.elements, model.cutoff)
    energy = float(derivatives.evaluate(model, batch).energy[0])
    assert abs(np.loadtxt(tmp_path / "simulation.out")[0, -1] - energy) < 1e-8


def free_energy(levels, kt):
    return -kt * np.log(np.exp(-(levels - levels[0]) / kt).sum()) + levels[0]


def curve_levels(model, atoms, direction, frequency):
    """Energy levels (eV) of one mode on a grid of 401 points, with the potential of the model along it."""
    elements = model.elements
    mass = HBAR**2 / AMU_A2_PER_FS2  # eV Å² amu
    spread = np.sqrt(mass / (frequency * INVERSE_CM))  # Å √amu
    grid = np.linspace(-6 * spread, 6 * spread, 401)
    moved = []
    for q in grid:
        bead = atoms.copy()
        bead.positions += q * direction
        moved.append(bead)
    energies = derivatives.evaluate(model, build_batch(moved, elements, model.cutoff)).energy.numpy()
    step = grid[1] - grid[0]
    kinetic = mass / (2 * step**2)
    difference = np.arange(len(grid))[:, None] - np.arange(len(grid))
    with np.errstate(divide="ignore"):
        hamiltonian = kinetic * np.where(difference == 0, np.pi**2 / 3, 2.0 * (-1.0) ** difference / difference**2.0)
    return np.linalg.eigvalsh(hamiltonian + np.diag(energies - energies[200]))


def test_independent_modes_start_from_the_analytic_matrix(water, by_differences, tmp_path):
    """What i-PI prints is the harmonic free energy of its own finite differences, and the anharmonic correction of
    each mode's Schrödinger equation on a grid (Colbert and Miller, J. Chem. Phys. 96, 1982, 1992)."""
    ipi_hessian(water, water.with_name("minimum.xyz"), "imf", tmp_path, "--temperature", "200")
    log = run_folder(tmp_path)
    harmonic, offset, correction = (
        float(re.findall(rf"@NM: {name} += +(\S+)", log)[-1])
        for name in ("HAR free energy", "Potential offset", "IMF free energy correction")
    )
    (start,) = ase.io.read(tmp_path / "start.xyz", ":")
    modes = normal_modes(start, np.loadtxt(by_differences / "simulation.own.hess") * HARTREE_PER_BOHR2)
    quanta, kt = modes.frequencies * INVERSE_CM, BOLTZMANN * 200.0
    exact = (0.5 * quanta + kt * np.log1p(-np.exp(-quanta / kt))).sum() / HARTREE
    assert abs(harmonic - offset - exact) < 1e-6 * exact + PRINTED
    model = read_model(water)
    directions = (modes.vectors / np.sqrt(np.repeat(modes.masses, 3))).reshape(-1, SIZE // 3, 3)
    levels = [curve_levels(model, start, d, f) for d, f in zip(directions, modes.frequencies, strict=True)]
    anharmonic = sum(free_energy(each, kt) for each in levels) / HARTREE
    print(f"anharmonic correction: i-PI {correction:.3e}, grid {anharmonic - exact:.3e} Ha")
    assert abs(correction - (anharmonic - exact)) < CONVERGED


def test_self_consistent_phonons_start_from_the_analytic_matrix(water, by_differences, tmp_path):
    ipi_hessian(water, water.with_name("minimum.xyz"), "scp", tmp_path)
    change(tmp_path, ("<max_steps>200", "<max_steps>6"), ("<max_iter>10", "<max_iter>1"))
    run_folder(tmp_path)
    first = np.loadtxt(tmp_path / "simulation.phonons.K.0")
    own = np.loadtxt(by_differences / "simulation.own.hess")
    np.testing.assert_allclose(first, own, rtol=0, atol=DIFFERENCES)


def test_minimisation_needs_fewer_steps(water, tmp_path):
    for name in ("analytic", "unit"):
        ipi_hessian(water, water.with_name("moved.xyz"), "minimize", tmp_path / name)
    text = (tmp_path / "unit/input.xml").read_text()
    (tmp_path / "unit/input.xml").write_text(re.sub(r"<hessian_trm.*</hessian_trm>", "", text))
    energies = []
    for name in ("analytic", "unit"):
        run_folder(tmp_path / name)
        energies.append(np.loadtxt(tmp_path / name / "simulation.out")[-1, 1])
    analytic, unit = (structures_evaluated(tmp_path / name) for name in ("analytic", "unit"))
    print(f"minimisation: {analytic} force calls from the analytic Hessian, {unit} from the unit matrix")
    assert abs(energies[0]) < 1e-6
    assert abs(energies[1]) < 1e-6
    assert analytic < unit


def test_instanton_is_that_of_ipis_own_hessians(tmp_path):
    """A double well of 0.3 eV: the same path, without the 6N displacements of all beads."""
    barrier, place, beads = 0.3, 0.4, 10
    model = tmp_path / "well.pt"
    saddle = write_well(model, k2=-4 * barrier / place**2, k4=barrier / place**4, k=20.0)
    saddle.write(tmp_path / "saddle.xyz", format="extxyz")
    options = ["--temperature", "150", "--beads", str(beads)]
    saved = ipi_hessian(model, tmp_path / "saddle.xyz", "instanton", tmp_path / "analytic", *options)
    ipi_hessian(model, tmp_path / "saddle.xyz", "instanton", tmp_path / "own", *options)
    change(
        tmp_path / "own",
        ("<hessian_init>False", "<hessian_init>True"),
        ("<hessian mode='file' shape='(6, 60)'>hessian.dat</hessian>", ""),
    )
    paths = []
    for name in ("analytic", "own"):
        run_folder(tmp_path / name)
        (final,) = (tmp_path / name).glob("simulation.instanton_FINAL_[0-9]*.ener")
        paths.append(np.loadtxt(final)[:, 1])
    analytic, own = (structures_evaluated(tmp_path / name) for name in ("analytic", "own"))
    print(f"instanton: {analytic} force calls from analytic Hessians, {own} with i-PI's own")
    assert own - analytic >= saved == 12 * beads
    np.testing.assert_allclose(paths[0], paths[1], rtol=0, atol=1e-4 * barrier)
    assert 0.0 > min(paths[0]) > -barrier


def test_stationary_points_of_a_model(water):
    """Newton's method finds the minimum that ASE's forces vanish at, and stays at a saddle point."""
    calculator = HesspotCalculator(water)

    def both(atoms):
        atoms = atoms.copy()
        atoms.calc = calculator
        return atoms.get_forces(), calculator.get_hessian(atoms)

    minimum, hessian = stationary_point(ase.io.read(water.with_name("moved.xyz")), both)
    assert np.allclose(minimum.get_all_distances()[0, 1:], 0.96, atol=1e-7)
    assert normal_modes(minimum, hessian).n_imaginary == 0
    bent = minimum.copy()
    middle = minimum.positions[1:].mean(0)
    bent.positions[0] += 0.9 * (middle - bent.positions[0])
    saddle, hessian = stationary_point(bent, both)
    assert abs(saddle.get_angle(1, 0, 2) - 180.0) < 1e-5
    assert normal_modes(saddle, hessian).n_imaginary == 2


@pytest.mark.parametrize(
    ("purpose", "geometry", "options", "words"),
    [
        ("imf", "moved", [], "no minimum"),
        ("ffdebye", "moved", [], "relax"),
        ("instanton", "minimum", ["--temperature", "50"], "0 imaginary"),
        ("scp", "missing", [], "does not exist"),
        ("scp", "linear", [], "linear or a symmetric top"),
        ("instanton", "path", ["--relax"], "2 beads"),
    ],
)
def test_geometries_that_ipi_cannot_start_from(water, tmp_path, purpose, geometry, options, words):
    with pytest.raises(UserError, match=words):
        ipi_hessian(water, water.with_name(f"{geometry}.xyz"), purpose, tmp_path, *options)


def test_no_instanton_above_the_crossover(tmp_path):
    saddle = write_well(tmp_path / "well.pt", k2=-7.5, k4=12.0, k=20.0)
    saddle.write(tmp_path / "saddle.xyz", format="extxyz")
    with pytest.raises(UserError, match=r"below .* K"):
        ipi_hessian(tmp_path / "well.pt", tmp_path / "saddle.xyz", "instanton", tmp_path, "--temperature", "900")
