"""Stationary points and paths: updates, Newton steps, steepest descent and the names of path ends."""

from itertools import pairwise

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import Calculator
from harmonic_bonds import bonds

from hesspot.data import Record
from hesspot.reference import search
from hesspot.reference.pyscf_labels import Labels, Method, NotConverged

EXACT = 1e-9  #: rounding of matrices of order one
NEAR_MINIMUM = 1e-4  #: Å; forces of 2e-4 eV/Å over stiffnesses above 10 eV/Å² leave less


class Bonds(Calculator):
    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def calculate(self, *args: object, **kwargs: object) -> None:
        super().calculate(*args, **kwargs)
        energy, forces, _ = bonds(self.atoms.positions)
        self.results = {"energy": energy, "forces": forces}


def triangle(stretch: float) -> Atoms:
    return Atoms("OH2", stretch * np.array([[0, 0, 0], [1, 0, 0], [0.5, 0.866, 0]]))


def test_update_reproduces_the_change_of_the_gradient() -> None:
    rng = np.random.default_rng(1)
    start = rng.normal(size=(6, 6))
    start = start + start.T
    step, change = rng.normal(size=6), rng.normal(size=6)
    updated = search.bofill(start, step, change)
    assert np.abs(updated @ step - change).max() < EXACT
    assert np.abs(updated - updated.T).max() < EXACT
    assert np.abs(updated - start).max() > 0.1
    assert np.array_equal(search.bofill(start, step, start @ step), start)


def test_newton_steps_end_at_the_minimum() -> None:
    guess = triangle(1.03)
    guess.rattle(0.01, seed=1)
    atoms = search._newton(guess, bonds(guess.positions)[2], Bonds())
    assert np.abs(atoms.get_all_distances() - (1 - np.eye(3))).max() < NEAR_MINIMUM


def double_well(positions: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """E = (d² − 1)² in the distance d of two atoms less 1 Å: a barrier at d = 0 between minima at ±1 Å."""
    arm = positions[1] - positions[0]
    r = np.linalg.norm(arm)
    unit, d = arm / r, r - 2.0
    slope, curve = 4 * d * (d**2 - 1), 12 * d**2 - 4
    block = curve * np.outer(unit, unit) + slope / r * (np.eye(3) - np.outer(unit, unit))
    hessian = np.block([[block, -block], [-block, block]])
    return (d**2 - 1) ** 2, np.array([slope * unit, -slope * unit]), hessian


@pytest.mark.parametrize("every", [1, 3, 100])
def test_path_leads_down_to_the_minimum_with_updated_and_with_computed_hessians(every: int) -> None:
    top = Atoms("H2", [[0, 0, 0], [2.0, 0, 0]])
    energy, forces, hessian = double_well(top.positions)
    saddle = Record.from_atoms(top, "top", kind="saddle", energy=energy, forces=forces, hessian=hessian)

    def label(number: int, atoms: Atoms, _: object) -> Labels:
        energy, forces, hessian = double_well(atoms.positions)
        return Labels(energy=energy, forces=forces, hessian=hessian if number % every == 0 else None)

    for sign in (1, -1):
        steps = list(search.steepest_descent(saddle, sign, 0.1, 40, label))
        energies = [1.0, *(step.labels.energy for step in steps)]
        assert all(after < before for before, after in pairwise(energies))
        lengths = [step.atoms.get_distance(0, 1) for step in steps]
        # In Å amu^½ with a reduced mass of half an atom's; the steps stay on the line, so that all of each counts.
        step = 0.1 / np.sqrt(top.get_masses()[0] / 2)
        assert np.allclose(np.abs(np.diff([2.0, *lengths[:5]])), step, rtol=0.02)
        assert min(abs(lengths[-1] - 1.0), abs(lengths[-1] - 3.0)) < 0.05
        assert len(steps) < 40


def test_ends_are_named_by_their_fragments_whatever_the_order_of_atoms() -> None:
    water, hydrogen = molecule("H2O"), molecule("H2")
    minima = [
        Record.from_atoms(water, "w", kind="minimum", system="H2O"),
        Record.from_atoms(hydrogen, "h", system="H2"),
    ]
    shifted = hydrogen.copy()
    shifted.rotate(40, "x")
    shifted.translate([5, 1, 0])
    mixed = shifted[:1] + water[[2, 0, 1]] + shifted[1:]
    assert search.identify(mixed, minima) == {"H2O", "H2"}
    assert len(search.fragments(mixed)) == 2
    water.positions[1] += [0, 0, 0.3]
    assert search.identify(water, minima) == {"unknown H2O"}


@pytest.mark.pyscf
def test_saddle_point_of_ammonia_is_found_from_a_guess_and_its_path_leads_to_the_minimum() -> None:
    method = Method(basis="STO-3G", grid=(50, 194), conv_tol=1e-9, cphf_tol=1e-6)
    guess = Atoms("NH3", [(0, 0, 0.05), (1.05, 0, 0), (-0.5, 0.85, 0), (-0.5, -0.9, 0)])
    atoms, labels = search.find_stationary(guess, 1, method)
    assert labels.properties["n_imaginary"] == 1
    assert np.abs(labels.forces).max() < search.FMAX
    normal = np.cross(atoms.positions[2] - atoms.positions[1], atoms.positions[3] - atoms.positions[1])
    assert abs((atoms.positions[0] - atoms.positions[1]) @ normal) < 1e-3 * np.linalg.norm(normal)
    with pytest.raises(NotConverged, match="imaginary modes"):
        search._coarse_point(atoms, 0, method)
