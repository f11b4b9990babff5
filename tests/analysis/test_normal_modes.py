"""Normal modes against ASE's vibration analysis and closed formulas."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.constraints import FixAtoms, FixBondLengths, FixCartesian
from ase.vibrations import VibrationsData

from hesspot.analysis.normal_modes import mode_overlap, normal_modes, rigid_basis, zero_point_energy
from hesspot.analysis.stationary import stationary_point
from hesspot.errors import UserError
from hesspot.units import SQRT_EV_PER_A2_AMU

#: Relative; ASE and hesspot take their constants from CODATA 2014 and 2018, which differ by parts in 1e8.
CONSTANTS = 1e-6
ROUNDING = 1e-9


def springs(atoms: Atoms, k: float = 20.0, seed: int = 0) -> np.ndarray:
    """Hessian (eV/Å²) of springs at rest between all pairs: zero rotations, since each force is zero."""
    generator = np.random.default_rng(seed)
    n = len(atoms)
    hessian = np.zeros((n, 3, n, 3))
    for a in range(n):
        for b in range(a):
            unit = atoms.positions[a] - atoms.positions[b]
            unit /= np.linalg.norm(unit)
            block = k * generator.uniform(0.5, 1.5) * np.outer(unit, unit)
            hessian[a, :, a] += block
            hessian[b, :, b] += block
            hessian[a, :, b] -= block
            hessian[b, :, a] -= block
    return hessian.reshape(3 * n, 3 * n)


@pytest.mark.parametrize("name", ["H2O", "CH3OH", "C2H6"])
def test_frequencies_of_nonlinear_molecules_as_in_ase(name: str) -> None:
    atoms = molecule(name)
    hessian = springs(atoms)
    modes = normal_modes(atoms, hessian)
    reference = VibrationsData.from_2d(atoms, hessian)
    assert modes.n_rigid == 6
    expected = np.sort(reference.get_frequencies().real)[6:]
    np.testing.assert_allclose(modes.frequencies, expected, rtol=CONSTANTS)
    assert modes.zero_point_energy == pytest.approx(0.5 * reference.get_energies()[6:].real.sum(), rel=CONSTANTS)
    assert modes.n_imaginary == 0


def test_diatomic_is_linear_and_follows_the_formula() -> None:
    atoms = molecule("CO")
    modes = normal_modes(atoms, springs(atoms, seed=3))
    k = springs(atoms, seed=3)[2, 2]
    mu = 1.0 / (1.0 / atoms.get_masses()).sum()
    # ν̃ = √(k/μ) / (2πc), with SI values of the constants
    wavenumber = np.sqrt(k * 1.602176634e-19 / 1e-20 / (mu * 1.66053906660e-27)) / (2 * np.pi * 2.99792458e10)
    assert modes.n_rigid == 5
    np.testing.assert_allclose(modes.frequencies, [wavenumber], rtol=CONSTANTS)
    # the reduced mass of a mode of unit Cartesian length, as in quantum-chemistry outputs
    cartesian = np.array([1, -atoms.get_masses()[0] / atoms.get_masses()[1]])
    expected = (atoms.get_masses() * cartesian**2).sum() / (cartesian**2).sum()
    np.testing.assert_allclose(modes.reduced_masses, [expected], rtol=ROUNDING)
    np.testing.assert_allclose(np.linalg.norm(modes.displacements()), 1.0, rtol=ROUNDING)


def test_linear_triatomic_has_four_modes_whatever_its_direction() -> None:
    atoms = Atoms("HCN", [[0, 0, -1.06], [0, 0, 0], [0, 0, 1.15]])
    hessian = springs(atoms) + 0.0
    straight = normal_modes(atoms, hessian)
    atoms.rotate(37.0, (1, 2, 3))
    atoms.rattle(1e-5, seed=1)
    turned = normal_modes(atoms, springs(atoms))
    assert straight.n_rigid == turned.n_rigid == 5
    assert len(straight.frequencies) == 4
    np.testing.assert_allclose(turned.frequencies[2:], straight.frequencies[2:], rtol=1e-4)


@pytest.mark.parametrize(("degrees", "n_rigid"), [(0.01, 5), (1.0, 6)])
def test_a_molecule_is_linear_within_the_errors_of_its_geometry(degrees: float, n_rigid: int) -> None:
    """A hundredth of a degree is 2e-4 Å, less than optimisations leave; a degree is a bent molecule."""
    angle = np.radians(degrees)
    atoms = Atoms("HCN", [[1.06 * np.sin(angle), 0, -1.06 * np.cos(angle)], [0, 0, 0], [0, 0, 1.15]])
    assert normal_modes(atoms, springs(atoms)).n_rigid == n_rigid


@pytest.mark.parametrize(("wavenumber", "count"), [(-20.0, 1), (-0.1, 0), (20.0, 0)])
def test_a_mode_counts_as_imaginary_beyond_the_noise(wavenumber: float, count: int) -> None:
    atoms = molecule("H2O")
    plain = normal_modes(atoms, springs(atoms))
    vector = plain.vectors[0] * np.sqrt(np.repeat(atoms.get_masses(), 3))
    change = (np.sign(wavenumber) * wavenumber**2 - plain.frequencies[0] ** 2) / SQRT_EV_PER_A2_AMU**2
    modes = normal_modes(atoms, springs(atoms) + change * np.outer(vector, vector))
    assert modes.frequencies[0] == pytest.approx(wavenumber, abs=1e-4)
    assert modes.n_imaginary == count


def test_single_atom_has_no_vibration() -> None:
    modes = normal_modes(Atoms("He"), np.zeros((3, 3)))
    assert modes.n_rigid == 3
    assert len(modes.frequencies) == 0
    assert modes.zero_point_energy == 0.0


@pytest.mark.parametrize("pbc", [True, (True, True, False), (False, False, True)])
def test_periodic_structures_lose_translations_alone(pbc) -> None:
    atoms = bulk("NaCl", "rocksalt", a=5.6)
    atoms.pbc = pbc
    modes = normal_modes(atoms, springs(atoms))
    assert modes.n_rigid == 3
    assert len(modes.frequencies) == 3


def test_translations_and_rotations_are_orthonormal() -> None:
    atoms = molecule("CH3OH")
    basis = rigid_basis(atoms, atoms.get_masses())
    np.testing.assert_allclose(basis @ basis.T, np.eye(6), atol=ROUNDING)


def test_away_from_a_stationary_point_the_rotations_are_projected_out() -> None:
    atoms = molecule("H2O")
    generator = np.random.default_rng(5)
    noise = generator.standard_normal((9, 9))
    modes = normal_modes(atoms, springs(atoms) + 0.5 * (noise + noise.T))
    center = np.average(atoms.positions, axis=0, weights=atoms.get_masses())
    for axis in np.eye(3):
        rotation = np.sqrt(atoms.get_masses())[:, None] * np.cross(axis, atoms.positions - center)
        assert np.abs(modes.vectors @ rotation.ravel()).max() < ROUNDING
        translation = np.sqrt(atoms.get_masses())[:, None] * axis
        assert np.abs(modes.vectors @ translation.ravel()).max() < ROUNDING
    np.testing.assert_allclose(modes.vectors @ modes.vectors.T, np.eye(3), atol=ROUNDING)


def test_an_imaginary_mode_is_negative_counted_and_left_out_of_the_zero_point_energy() -> None:
    atoms = molecule("H2O")
    plain = normal_modes(atoms, springs(atoms))
    root = np.sqrt(np.repeat(atoms.get_masses(), 3))
    vector = plain.vectors[0] * root
    value = plain.vectors[0] @ (springs(atoms) / np.outer(root, root)) @ plain.vectors[0]
    saddle = normal_modes(atoms, springs(atoms) - 1.5 * value * np.outer(vector, vector))
    assert saddle.n_imaginary == 1
    assert saddle.frequencies[0] == pytest.approx(-np.sqrt(0.5) * plain.frequencies[0], rel=ROUNDING)
    assert saddle.zero_point_energy == pytest.approx(zero_point_energy(plain.frequencies[1:]), rel=ROUNDING)
    assert mode_overlap(saddle, plain) == pytest.approx(1.0, rel=ROUNDING)


def test_bad_hessians_are_refused_in_words() -> None:
    atoms = molecule("H2O")
    with pytest.raises(UserError, match=r"shape \(3, 3\).*3 atoms.*9, 9"):
        normal_modes(atoms, np.zeros((3, 3)))
    with pytest.raises(UserError, match="not a finite number"):
        normal_modes(atoms, np.full((9, 9), np.nan))


@pytest.mark.parametrize("name", ["H2O", "CH3OH"])
def test_isotopes_of_the_structure_are_honoured(name: str) -> None:
    atoms = molecule(name)
    masses = np.where(atoms.numbers == 1, 2.014, atoms.get_masses())
    masses[-1] = 3.016
    hessian = springs(atoms)
    light = normal_modes(atoms, hessian).frequencies
    atoms.set_masses(masses)
    heavy = normal_modes(atoms, hessian)
    expected = np.sort(VibrationsData.from_2d(atoms, hessian).get_frequencies().real)[6:]
    np.testing.assert_allclose(heavy.frequencies, expected, rtol=CONSTANTS)
    np.testing.assert_array_equal(heavy.masses, masses)
    assert (light / heavy.frequencies).max() > 1.2
    np.testing.assert_allclose(normal_modes(atoms, hessian, masses).frequencies, heavy.frequencies, rtol=ROUNDING)


@pytest.mark.parametrize(
    ("held", "n_rigid"),
    [([0, 1, 2], 0), ([0], 3), ([0, 1], 1)],  # three atoms hold all, one its translation, two an axis to turn about
)
@pytest.mark.parametrize("masses", [None, 2.014])
def test_atoms_that_are_held_do_not_vibrate(held, n_rigid, masses) -> None:
    atoms = molecule("CH3OH")
    if masses:
        atoms.set_masses(np.where(atoms.numbers == 1, masses, atoms.get_masses()))
    hessian = springs(atoms)
    atoms.set_constraint(FixAtoms(held))
    free = [i for i in range(len(atoms)) if i not in held]
    rows = np.arange(3 * len(atoms)).reshape(-1, 3)[free].ravel()
    data = VibrationsData.from_2d(atoms, hessian[np.ix_(rows, rows)], indices=free)
    expected = np.sort(data.get_frequencies().real)[n_rigid:]
    modes = normal_modes(atoms, hessian)
    assert modes.n_rigid == n_rigid and len(modes.frequencies) == 3 * len(free) - n_rigid
    np.testing.assert_allclose(modes.frequencies, expected, rtol=CONSTANTS, atol=1e-3)
    assert not np.abs(modes.displacements()[:, held]).max() > ROUNDING


@pytest.mark.parametrize("held", [[], [0], [0, 1], [1, 3]])
def test_rigid_motions_are_orthonormal_and_leave_held_atoms_at_rest(held: list[int]) -> None:
    atoms = molecule("CH3OH")
    atoms.positions += 5.0
    atoms.set_constraint(FixAtoms(held))
    motions = rigid_basis(atoms, atoms.get_masses())
    np.testing.assert_allclose(motions @ motions.T, np.eye(len(motions)), atol=ROUNDING)
    assert np.abs(motions.reshape(len(motions), -1, 3)[:, held]).max(initial=0.0) < ROUNDING
    assert np.abs(springs(atoms) @ (motions / np.sqrt(np.repeat(atoms.get_masses(), 3))).T).max() < 1e-9


def test_three_held_atoms_that_are_all_but_on_a_line_let_the_others_turn() -> None:
    """As an optimised geometry has them: not exactly linear, and still no reason for a frequency of nothing."""
    atoms = Atoms("OCOHH", [[0, 0, -1.2], [0, 1e-5, 0], [0, 0, 1.2], [1.1, 0, 0], [1.4, 0.8, 0]])
    atoms.set_constraint(FixAtoms([0, 1, 2]))
    modes = normal_modes(atoms, springs(atoms))
    assert modes.n_rigid == 1 and modes.frequencies.min() > 100
    atoms.positions[1, 1] = 0.3
    assert normal_modes(atoms, springs(atoms)).n_rigid == 0


def test_a_single_coordinate_can_be_held() -> None:
    atoms = Atoms("CO", [[0, 0, 0], [0, 0, 1.1]], cell=np.eye(3) * 9, pbc=True)
    atoms.set_constraint(FixCartesian(0, mask=(False, False, True)))
    modes = normal_modes(atoms, springs(atoms, seed=3))
    assert modes.n_rigid == 2 and len(modes.frequencies) == 3
    mass = atoms.get_masses()[1]
    assert modes.frequencies[-1] == pytest.approx(np.sqrt(springs(atoms, seed=3)[2, 2] / mass) * SQRT_EV_PER_A2_AMU)
    atoms.set_constraint(FixAtoms([0, 1]))
    assert len(normal_modes(atoms, springs(atoms)).frequencies) == 0


def test_what_cannot_be_honoured_is_refused() -> None:
    atoms = molecule("H2O")
    hessian = springs(atoms)
    for masses in ([1.0, 2.0], [16.0, 1.0, 0.0], [16.0, 1.0, np.nan]):
        with pytest.raises(UserError, match="give 3 positive numbers, in amu"):
            normal_modes(atoms, hessian, np.array(masses))
    atoms.set_constraint(FixBondLengths([[0, 1]]))
    with pytest.raises(UserError, match="constraint FixBondLengths"):
        normal_modes(atoms, hessian)
    atoms.set_constraint()
    atoms.set_masses([15.999, 1837.0, 1837.0])
    with pytest.raises(UserError, match="mass 1837 for atom 1"):
        normal_modes(atoms, hessian)


def test_a_stationary_point_with_held_atoms() -> None:
    """Newton steps move what is free only, to where the forces on it vanish."""
    atoms = molecule("H2O")
    hessian, rest = springs(atoms), molecule("H2O").positions
    atoms.set_constraint(FixAtoms([0]))
    atoms.positions += [[0.3, 0, 0], [0, 0.05, 0], [0, 0, -0.05]]
    first = atoms.positions.copy()

    def derivatives(moved: Atoms) -> tuple[np.ndarray, np.ndarray]:
        stiff = hessian + 5.0 * np.eye(9)
        return -(stiff @ (moved.positions - rest).ravel()).reshape(-1, 3), stiff

    atoms.pbc, atoms.cell = True, np.eye(3) * 20  # no rotations, which this potential would not be free of
    found, _ = stationary_point(atoms, derivatives)
    np.testing.assert_array_equal(found.positions[0], first[0])
    forces, _ = derivatives(found)
    assert np.abs(forces[1:]).max() < 1e-8 < np.abs(forces[0]).max()


def test_the_asymmetry_of_a_hessian_counts_for_nothing() -> None:
    atoms = molecule("H2O")
    hessian = springs(atoms)
    skew = np.random.default_rng(1).normal(size=hessian.shape)
    np.testing.assert_allclose(
        normal_modes(atoms, hessian + skew - skew.T).frequencies, normal_modes(atoms, hessian).frequencies, atol=1e-6
    )


@pytest.mark.parametrize("soft", [3.0, 0.0])
@pytest.mark.parametrize(("start", "end"), [(0.1, 0.0), (0.45, 0.5)])
def test_newton_steps_lead_to_the_nearest_point_of_their_order(start: float, end: float, soft: float) -> None:
    """A double well E = 8 (s² − ¼)² in the stretch s: from beside its top to the top, from beside a minimum to it.

    Across it one direction may have no curvature at all, and no force: nothing moves there.
    """
    rest = 1.5

    def derivatives(atoms: Atoms) -> tuple[np.ndarray, np.ndarray]:
        bond = atoms.positions[1] - atoms.positions[0]
        s = bond[2] - rest
        slope = np.array([3.0 * bond[0], soft * bond[1], 32.0 * s * (s**2 - 0.25)])
        stiff = np.diag([3.0, soft, 32.0 * (3.0 * s**2 - 0.25)])
        return np.stack([slope, -slope]), np.block([[stiff, -stiff], [-stiff, stiff]])

    atoms = Atoms("HF", [[0, 0, 0], [0.02, -0.01, rest + start]], cell=np.eye(3) * 20, pbc=True)
    found, _ = stationary_point(atoms, derivatives)
    across = 0.0 if soft else -0.01
    np.testing.assert_allclose(found.positions[1] - found.positions[0], [0, across, rest + end], atol=1e-8)
