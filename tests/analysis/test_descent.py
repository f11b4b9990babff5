"""Paths and samples on surfaces whose answers are known."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from ase import Atoms
from scipy.integrate import solve_ivp

from hesspot.analysis.descent import along_imaginary, bofill, descend, steepest_descent
from hesspot.analysis.harmonic_samples import sample_modes
from hesspot.units import BOLTZMANN

EXACT = 1e-9  #: rounding of matrices of order one
ATOMS = Atoms("OCH2", [[0, 0, 1.2], [0.1, 0, 0], [0, 0.93, -0.6], [0, -0.93, -0.6]])


def internal_hessian(rng: np.random.Generator, lowest: float) -> np.ndarray:
    """A Hessian that costs nothing for translations and rotations, with eigenvalues from `lowest` to 40 eV/Å²."""
    centred = ATOMS.positions - ATOMS.get_center_of_mass()
    rigid = [np.tile(axis, (4, 1)).ravel() for axis in np.eye(3)] + [
        np.cross(axis, centred).ravel() for axis in np.eye(3)
    ]
    internal = np.linalg.svd(np.array(rigid))[2][6:]
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    basis = turn @ internal
    return basis.T @ np.diag(np.concatenate([[lowest], np.linspace(2.0, 40.0, 5)])) @ basis


@pytest.mark.parametrize("lowest", [-3.0, 1.0])
def test_a_step_down_follows_the_path_of_the_quadratic_surface(lowest: float) -> None:
    rng = np.random.default_rng(5)
    hessian = internal_hessian(rng, lowest)
    slope = hessian @ rng.normal(size=12) * 0.1
    weights = np.sqrt(np.repeat(ATOMS.get_masses(), 3))
    length = 0.15

    def path(_: float, q: np.ndarray) -> np.ndarray:
        gradient = (slope + hessian @ (q / weights)) / weights
        return -gradient / np.linalg.norm(gradient)

    exact = solve_ivp(path, (0, length), np.zeros(12), method="LSODA", rtol=1e-8, atol=1e-10).y[:, -1]
    moved = descend(ATOMS, -slope.reshape(4, 3), hessian, length)
    shift = (moved.positions - ATOMS.positions).ravel() * weights
    # descend() takes the next of 8000 times that grow by 0.3 %, so that arcs are right to about that
    np.testing.assert_allclose(shift, exact, atol=0.005 * length)


def test_a_step_down_ends_at_the_minimum() -> None:
    rng = np.random.default_rng(6)
    hessian = internal_hessian(rng, 1.0)
    target = hessian @ rng.normal(size=12)
    there = np.linalg.pinv(hessian, rcond=1e-8) @ -target
    moved = descend(ATOMS, -target.reshape(4, 3), hessian, 1e3)
    residual = target + hessian @ (moved.positions - ATOMS.positions).ravel()
    assert np.abs(residual).max() < 1e-8
    assert np.linalg.norm(there) > 0.1


def test_samples_have_the_boltzmann_energy() -> None:
    rng = np.random.default_rng(7)
    hessian = internal_hessian(rng, 10.0)
    temperature, count = 30.0, 2000
    energies = []
    for _ in range(count):
        shift = (sample_modes(ATOMS, hessian, temperature, rng).positions - ATOMS.positions).ravel()
        energies.append(0.5 * shift @ hessian @ shift)
    # six modes of kT/2; the mean of 2000 samples has a relative standard deviation of (2 / 6 / 2000)^½ = 1.3 %
    assert np.mean(energies) == pytest.approx(3 * BOLTZMANN * temperature, rel=0.06)


def test_samples_are_reproduced_and_keep_atoms_apart() -> None:
    hessian = internal_hessian(np.random.default_rng(8), 1.0)
    first, second = (sample_modes(ATOMS, hessian, 5000.0, np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(first.positions, second.positions)
    many = [sample_modes(ATOMS, hessian, 5000.0, np.random.default_rng(i)) for i in range(50)]
    upper = np.triu_indices(4, 1)
    nearest = min((a.get_all_distances() / ATOMS.get_all_distances().clip(1e-9))[upper].min() for a in many)
    assert 0.75 < nearest < 0.9


def test_both_sides_of_a_saddle_go_down() -> None:
    hessian = internal_hessian(np.random.default_rng(9), -3.0)
    sides = [along_imaginary(ATOMS, hessian, length).positions - ATOMS.positions for length in (0.1, -0.1)]
    np.testing.assert_allclose(sides[0], -sides[1], atol=1e-14)
    assert all(side.ravel() @ hessian @ side.ravel() < 0 for side in sides)
    weighted = sides[0] * np.sqrt(ATOMS.get_masses())[:, None]
    assert np.linalg.norm(weighted) == pytest.approx(0.1)


def test_update_reproduces_the_change_of_the_gradient() -> None:
    rng = np.random.default_rng(1)
    start = rng.normal(size=(6, 6))
    start = start + start.T
    step, change = rng.normal(size=6), rng.normal(size=6)
    updated = bofill(start, step, change)
    assert np.abs(updated @ step - change).max() < EXACT
    assert np.abs(updated - updated.T).max() < EXACT
    assert np.abs(updated - start).max() > 0.1
    assert np.array_equal(bofill(start, step, start @ step), start)


def double_well(positions: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """E = (d² − 1)² in the distance d of two atoms less 1 Å: a barrier at d = 0 between minima at ±1 Å."""
    arm = positions[1] - positions[0]
    r = np.linalg.norm(arm)
    unit, d = arm / r, r - 2.0
    slope, curve = 4 * d * (d**2 - 1), 12 * d**2 - 4
    block = curve * np.outer(unit, unit) + slope / r * (np.eye(3) - np.outer(unit, unit))
    hessian = np.block([[block, -block], [-block, block]])
    return (d**2 - 1) ** 2, np.array([slope * unit, -slope * unit]), hessian


@dataclass(frozen=True)
class Known:
    energy: float
    forces: np.ndarray
    hessian: np.ndarray | None


@pytest.mark.parametrize("every", [1, 3, 100])
def test_path_leads_down_to_the_minimum_with_updated_and_with_computed_hessians(every: int) -> None:
    top = Atoms("H2", [[0, 0, 0], [2.0, 0, 0]])

    def evaluate(number: int, atoms: Atoms, _: object) -> Known:
        energy, forces, hessian = double_well(atoms.positions)
        return Known(energy, forces, hessian if number % every == 0 else None)

    for sign in (1, -1):
        steps = list(steepest_descent(top, Known(*double_well(top.positions)), sign, 0.1, 40, evaluate))
        energies = [1.0, *(step.known.energy for step in steps)]
        assert all(after < before for before, after in pairwise(energies))
        lengths = [step.atoms.get_distance(0, 1) for step in steps]
        # In Å amu^½ with a reduced mass of half an atom's; the steps stay on the line, so that all of each counts.
        step = 0.1 / np.sqrt(top.get_masses()[0] / 2)
        assert np.allclose(np.abs(np.diff([2.0, *lengths[:5]])), step, rtol=0.02)
        assert min(abs(lengths[-1] - 1.0), abs(lengths[-1] - 3.0)) < 0.05
        assert len(steps) < 40
