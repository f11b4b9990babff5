"""Labels against differences of energies and gradients, and against published wavenumbers of this level."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from hesspot.analysis.normal_modes import normal_modes
from hesspot.data.sum_rules import acoustic_defect, rotational_defect
from hesspot.errors import UserError
from hesspot.units import HARTREE

pytest.importorskip("pyscf")
from hesspot.reference.method import NotConverged
from hesspot.reference.pyscf_labels import (
    Labels,
    Method,
    PySCFCalculator,
    check_input,
    compute,
    impose_acoustic_sum_rule,
    solve_block,
)

#: Å; the third derivatives of water are about 400 eV/Å³
STEP = 1e-3
#: eV; error of the trapezoidal rule, third derivative · STEP³ / 12
ENERGY_TOLERANCE = 1e-7
#: eV/Å²; the grid's second derivatives, which the analytic Hessian leaves out, are 1e-3
HESSIAN_TOLERANCE = 3e-3
#: cm⁻¹; the published values are rounded to 0.1, the geometry is optimised to 2e-4 eV/Å
WAVENUMBER_TOLERANCE = 0.2

#: Hartree; RKS B3LYP/def2-SVP with the 28-electron core of iodine; without it −6900, with its valence alone −2046
HI_ENERGY, HI_ENERGY_TOLERANCE = -298.39, 0.01
#: eV, restricted singlet over unrestricted triplet: 0.98 in experiment, 1.6 to 1.7 by restricted B3LYP; and its spread
OXYGEN_GAP = (1.65, 0.1)
#: eV, eV/Å; central differences of dispersion energies at STEP
DISPERSION_TOLERANCE = 1e-6

WATER = Atoms("OH2", [[0, 0, 0.120878581], [0, 0.761555315, -0.477855295], [0, -0.761555315, -0.477855295]])
METHOD = Method()


@pytest.fixture(scope="module")
def water() -> Labels:
    return compute(WATER, METHOD)


def moved(direction: np.ndarray, step: float) -> Labels:
    atoms = WATER.copy()
    atoms.positions = atoms.positions + step * direction
    return compute(atoms, METHOD, hessian=False)


@pytest.mark.pyscf
def test_wavenumbers_of_water_are_those_of_gaussians_basis(water: Labels) -> None:
    frequencies = normal_modes(WATER, water.hessian).frequencies
    np.testing.assert_allclose(frequencies, [1712.9, 3726.8, 3848.7], atol=WAVENUMBER_TOLERANCE)


@pytest.mark.pyscf
def test_hessian_and_forces_are_derivatives(water: Labels) -> None:
    direction = np.random.default_rng(3).normal(size=(3, 3))
    direction /= np.linalg.norm(direction)
    plus, minus = moved(direction, STEP), moved(direction, -STEP)
    for end, step in ((plus, STEP), (minus, -STEP)):
        work = -0.5 * step * ((water.forces + end.forces) * direction).sum()
        assert end.energy - water.energy == pytest.approx(work, abs=ENERGY_TOLERANCE)
        assert work > 50 * ENERGY_TOLERANCE
    product = -(plus.forces - minus.forces).ravel() / (2 * STEP)
    np.testing.assert_allclose(water.hessian @ direction.ravel(), product, atol=HESSIAN_TOLERANCE)


@pytest.mark.pyscf
def test_sum_rules_and_residual(water: Labels) -> None:
    assert water.properties["cphf_residual"] < 10 * METHOD.cphf_tol
    assert water.properties["asymmetry"] < 1e-8  # a converged response leaves rounding
    assert acoustic_defect(water.hessian) < 1e-10  # imposed, rounding is left
    assert rotational_defect(WATER.positions, water.forces, water.hessian) < HESSIAN_TOLERANCE
    np.testing.assert_array_equal(water.hessian, water.hessian.T)


def test_block_solver_solves_all_right_hand_sides() -> None:
    rng = np.random.default_rng(1)
    m = 120
    gap = rng.uniform(0.3, 20.0, m)
    coupling = rng.normal(size=(m, m)) * 0.02
    coupling = coupling + coupling.T
    rhs = rng.normal(size=(9, m))
    rhs[3] = rhs[1] - 2 * rhs[2]  # dependent directions, as translations are
    tol = 1e-9
    calls = []

    def response(x: np.ndarray) -> np.ndarray:
        calls.append(len(x))
        return x @ coupling

    x = solve_block(response, gap, rhs, tol)
    np.testing.assert_allclose(x @ (np.diag(gap) + coupling), rhs, atol=10 * tol)
    np.testing.assert_allclose(x, np.linalg.solve(np.diag(gap) + coupling, rhs.T).T, atol=100 * tol)
    assert calls[0] == 8


def test_acoustic_sum_rule_is_imposed_and_right_hessians_stay() -> None:
    rng = np.random.default_rng(2)
    springs = rng.normal(size=(4, 12, 12)).sum(0)
    raw = springs + springs.T
    reset = impose_acoustic_sum_rule(raw)
    assert acoustic_defect(reset) < 1e-12
    np.testing.assert_allclose(reset, reset.T, atol=0)
    np.testing.assert_allclose(impose_acoustic_sum_rule(reset), reset, atol=1e-12)


def test_other_functional_and_the_calculator() -> None:
    method = Method(xc="PBE", basis="STO-3G", cart=False, grid=(30, 110))
    calculator = PySCFCalculator(method)
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 0.8]])
    atoms.calc = calculator
    labels = compute(atoms, method, stability=True)
    assert atoms.get_potential_energy() == pytest.approx(labels.energy, abs=1e-9)
    np.testing.assert_allclose(calculator.hessian(atoms), labels.hessian, atol=1e-7)
    assert labels.properties["unrestricted_stability"] == "stable"
    stretched = Atoms("H2", [[0, 0, 0], [0, 0, 2.5]])
    assert compute(stretched, method, hessian=False, stability=True).properties["unrestricted_stability"] == "unstable"


@pytest.mark.pyscf
def test_a_basis_gets_the_core_potentials_that_belong_to_it() -> None:
    method = Method(basis="def2-SVP", cart=False, grid=(50, 194))
    atoms = Atoms("HI", [[0, 0, 0], [0, 0, 1.62]])
    labels = compute(atoms, method)
    assert labels.energy / HARTREE == pytest.approx(HI_ENERGY, abs=HI_ENERGY_TOLERANCE)
    bond = np.array([[0, 0, -0.5], [0, 0, 0.5]])
    pulled = []
    for step in (STEP, -STEP):
        moved = atoms.copy()
        moved.positions += step * bond
        pulled.append((compute(moved, method, hessian=False).forces * bond).sum())
    curvature = bond.ravel() @ labels.hessian @ bond.ravel()
    assert curvature == pytest.approx((pulled[1] - pulled[0]) / (2 * STEP), abs=HESSIAN_TOLERANCE)
    assert curvature > 100 * HESSIAN_TOLERANCE


@pytest.mark.pyscf
def test_dispersion_is_in_energy_forces_and_hessian() -> None:
    plain, method = (Method(xc=xc, basis="STO-3G", grid=(30, 110)) for xc in ("B3LYP", "B3LYP-D3BJ"))
    atoms = Atoms("He2", [[0, 0, 0], [0, 0, 2.6]])
    direction = np.array([[0, 0, -0.5], [0, 0, 0.5]])

    def dispersion(shift: float) -> tuple[float, float]:
        moved = atoms.copy()
        moved.positions += shift * direction
        with_it, without = (compute(moved, each, hessian=False) for each in (method, plain))
        return with_it.energy - without.energy, ((with_it.forces - without.forces) * direction).sum()

    (above, pull_above), (below, pull_below) = dispersion(STEP), dispersion(-STEP)
    energy, pull = dispersion(0.0)
    assert energy < -1e-3 and -(above - below) / (2 * STEP) == pytest.approx(pull, abs=DISPERSION_TOLERANCE)
    assert abs(pull) > 10 * DISPERSION_TOLERANCE
    difference = compute(atoms, method).hessian - compute(atoms, plain).hessian
    curvature = direction.ravel() @ difference @ direction.ravel()
    assert curvature == pytest.approx((pull_below - pull_above) / (2 * STEP), abs=10 * DISPERSION_TOLERANCE)
    assert abs(curvature) > 30 * DISPERSION_TOLERANCE


@pytest.mark.pyscf
@pytest.mark.parametrize(
    "atoms",
    [
        Atoms("OH", [[0, 0, 0], [0, 0, 0.97]], info={"multiplicity": 2}),
        Atoms("OH", [[0, 0, 0], [0, 0, 0.97]], info={"charge": -1}),
        Atoms("OH2", WATER.positions, info={"charge": 1, "spin": 2}),
    ],
    ids=["radical", "anion", "cation"],
)
def test_hessians_of_radicals_and_ions_are_derivatives(atoms: Atoms) -> None:
    labels = compute(atoms, METHOD)
    assert labels.properties["cphf_residual"] < 10 * METHOD.cphf_tol
    direction = np.random.default_rng(5).normal(size=(len(atoms), 3))
    direction /= np.linalg.norm(direction)
    forces = []
    for step in (STEP, -STEP):
        moved = atoms.copy()
        moved.positions += step * direction
        forces.append(compute(moved, METHOD, hessian=False).forces)
    product = -(forces[0] - forces[1]).ravel() / (2 * STEP)
    np.testing.assert_allclose(labels.hessian @ direction.ravel(), product, atol=HESSIAN_TOLERANCE)
    assert np.abs(product).max() > 100 * HESSIAN_TOLERANCE


@pytest.mark.pyscf
def test_oxygen_is_a_triplet() -> None:
    method = Method(basis="6-31G(d)", grid=(50, 194))
    triplet, singlet = molecule("O2"), Atoms("O2", molecule("O2").positions)
    labels = compute(triplet, method, hessian=False)
    assert compute(singlet, method, hessian=False).energy - labels.energy == pytest.approx(
        OXYGEN_GAP[0], abs=OXYGEN_GAP[1]
    )
    assert labels.properties["spin_squared"] == pytest.approx(2.0, abs=0.02)


@pytest.mark.pyscf
@pytest.mark.parametrize(
    ("atom", "changes"),
    [
        (Atoms("He"), {}),
        (Atoms("H", info={"multiplicity": 2}), {"basis": "STO-3G"}),  # no orbitals to rotate
        (Atoms("H", info={"multiplicity": 2}), {"xc": "HF"}),  # no grid of an open shell
    ],
    ids=["He", "minimal", "HF"],
)
def test_a_lone_atom_has_no_curvature(atom: Atoms, changes: dict[str, str]) -> None:
    labels = compute(atom, METHOD.model_copy(update=changes))
    np.testing.assert_allclose(labels.hessian, 0.0, atol=HESSIAN_TOLERANCE)
    np.testing.assert_allclose(labels.forces, 0.0, atol=HESSIAN_TOLERANCE)


def test_a_negative_gap_is_no_ground_state() -> None:
    with pytest.raises(NotConverged, match="below an occupied"):
        solve_block(lambda x: x, np.array([0.5, -0.1]), np.ones((1, 2)), 1e-9)


def test_a_functional_is_tried_with_the_shells_of_the_structure() -> None:
    """PySCF has Hessians of non-local correlation for closed shells, and gradients for both."""
    check_input(molecule("H2"), Method(xc="wB97X-V"))
    check_input(molecule("O2"), Method(xc="wB97X-V"), hessian=False)
    check_input(molecule("O2"), Method(xc="B3LYP"))


@pytest.mark.parametrize(
    ("atoms", "changes", "words"),
    [
        (Atoms("CH3", molecule("CH3").positions), {}, "odd number of electrons"),
        (Atoms("He", pbc=True, cell=[5, 5, 5]), {}, "periodic"),
        (molecule("H2"), {"basis": "no-such-basis"}, "no-such-basis"),
        (molecule("H2"), {"xc": "no-such-functional"}, "(?i)no-such-functional"),
        (molecule("H2"), {"grid": (75, 433)}, "434"),
        (molecule("H2"), {"xc": "wb97x-d"}, "wb97x-d.*B3LYP-D3BJ"),
        (molecule("H2"), {"xc": "B3LYP-D9"}, "B3LYP-D9.*B3LYP-D3BJ"),
        (molecule("O2"), {"xc": "wB97X-V"}, "wB97X-V cannot be used for open shells .*UKS Hessian for NLC"),
        (molecule("CH4"), {"basis": "ccecp-cc-pvdz"}, "only the valence of C"),
        (molecule("CH4"), {"basis": "gth-dzvp"}, "only the valence of C"),
        (Atoms("HI", [[0, 0, 0], [0, 0, 1.6]]), {"basis": "6-31G(d)"}, "cannot be set up|has .* shells"),
    ],
)
def test_bad_input_gives_one_sentence(atoms: Atoms, changes: dict, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        check_input(atoms, Method(**changes))
    assert "\n" not in str(caught.value)
