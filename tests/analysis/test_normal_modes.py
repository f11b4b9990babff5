"""Normal modes against ASE's vibration analysis and closed formulas."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.vibrations import VibrationsData

from hesspot.analysis.normal_modes import mode_overlap, normal_modes, zero_point_energy
from hesspot.errors import UserError

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


def test_single_atom_has_no_vibration() -> None:
    modes = normal_modes(Atoms("He"), np.zeros((3, 3)))
    assert modes.n_rigid == 3
    assert len(modes.frequencies) == 0
    assert modes.zero_point_energy == 0.0


def test_periodic_structures_lose_translations_alone() -> None:
    atoms = bulk("NaCl", "rocksalt", a=5.6)
    modes = normal_modes(atoms, springs(atoms))
    assert modes.n_rigid == 3
    assert len(modes.frequencies) == 3


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
