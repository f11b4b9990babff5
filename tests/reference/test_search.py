"""Stationary points: Newton steps and the names of path ends."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import Calculator
from harmonic_bonds import bonds

from hesspot.analysis.molecules import fragments
from hesspot.data import Record
from hesspot.reference import search
from hesspot.reference.pyscf_labels import Method, NotConverged

NEAR_MINIMUM = 1e-4  #: Å; forces of 2e-4 eV/Å over stiffnesses above 10 eV/Å² leave less


class Bonds(Calculator):
    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def calculate(self, *args: object, **kwargs: object) -> None:
        super().calculate(*args, **kwargs)
        energy, forces, _ = bonds(self.atoms.positions)
        self.results = {"energy": energy, "forces": forces}


def triangle(stretch: float) -> Atoms:
    return Atoms("OH2", stretch * np.array([[0, 0, 0], [1, 0, 0], [0.5, 0.866, 0]]))


def test_newton_steps_end_at_the_minimum() -> None:
    guess = triangle(1.03)
    guess.rattle(0.01, seed=1)
    atoms = search._newton(guess, bonds(guess.positions)[2], Bonds())
    assert np.abs(atoms.get_all_distances() - (1 - np.eye(3))).max() < NEAR_MINIMUM


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
    assert len(fragments(mixed)) == 2
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
