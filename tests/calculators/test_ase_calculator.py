"""The ASE calculator against ASE's own finite differences of its energy, and against ASE's Lennard-Jones."""

from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.calculators.lj import LennardJones as AseLennardJones
from ase.io import read, write
from ase.neighborlist import neighbor_list
from ase.vibrations import Vibrations

from hesspot.analysis.normal_modes import normal_modes
from hesspot.calculators import HesspotCalculator
from hesspot.errors import UserError
from hesspot.export.file import fingerprint_entry, write_model
from hesspot.models.analytic import LennardJones
from hesspot.models.house import HouseConfig, HouseModel

#: eV/Å; central differences with 1e-4 Å of energies near 10 eV: 1e-15·10/1e-4 rounding plus E‴·1e-8 truncation.
FORCE = 1e-6
#: eV/Å³, the same for strains of 1e-4 and volumes of some 20 Å³.
STRESS = 1e-6
#: eV/Å²; central differences of analytic forces with 1e-3 Å: F‴·1e-6/6 truncation.
HESSIAN = 1e-4
ROUNDING = 1e-9
#: float32 keeps 7 digits of forces of some eV/Å.
SINGLE = 1e-4


def house(seed: int = 3) -> HouseModel:
    torch.manual_seed(seed)
    model = HouseModel(HouseConfig(elements=["H", "C", "O"], cutoff=4.0, n_radial=4, n_channels=3, hidden=[16]))
    model.scale.fill_(5.0)
    return model.requires_grad_(False).eval()


def structures() -> dict[str, Atoms]:
    tiny = bulk("C", "diamond", a=3.6)  # shorter than the cutoff: an atom sees its own images
    triclinic = Atoms(
        "COH",
        scaled_positions=[[0, 0, 0], [0.4, 0.45, 0.5], [0.8, 0.1, 0.7]],
        cell=[[3.5, 0.2, 0], [0.7, 3.2, 0.4], [-0.5, 0.6, 3.8]],
        pbc=True,
    )
    slab = Atoms("CO", [[0, 0, 0], [0, 0, 1.3]], cell=[3, 3, 12], pbc=[True, True, False])
    far = Atoms("COH", [[0, 0, 0], [0, 0, 1.2], [0, 0, 30]])
    return {"molecule": molecule("CH3OH"), "tiny": tiny, "triclinic": triclinic, "slab": slab, "isolated": far}


@pytest.mark.parametrize("name", list(structures()))
def test_forces_stress_and_hessian_are_the_derivatives_of_the_energy(name: str) -> None:
    atoms = structures()[name]
    atoms.rattle(0.05, seed=2)
    atoms.calc = HesspotCalculator(house())
    numerical = calculate_numerical_forces(atoms, eps=1e-4)
    np.testing.assert_allclose(atoms.get_forces(), numerical, atol=FORCE)
    assert atoms.get_potential_energies().sum() == pytest.approx(atoms.get_potential_energy(), abs=ROUNDING)
    if atoms.cell.rank == 3:
        np.testing.assert_allclose(atoms.get_stress(), calculate_numerical_stress(atoms, eps=1e-4), atol=STRESS)
        np.testing.assert_allclose(atoms.get_stresses().sum(0), atoms.get_stress(), atol=ROUNDING)
    analytic = atoms.calc.get_property("hessian", atoms)
    assert analytic.shape == (3 * len(atoms), 3 * len(atoms))
    step, columns = 1e-3, []
    for index in range(3 * len(atoms)):
        forces = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[index // 3, index % 3] += sign * step
            moved.calc = atoms.calc
            forces.append(moved.get_forces().ravel())
        columns.append((forces[1] - forces[0]) / (2 * step))
    np.testing.assert_allclose(analytic, np.array(columns).T, atol=HESSIAN)


def matrix(value: float) -> torch.Tensor:
    return torch.tensor([[value]], dtype=torch.float64)


def test_as_the_lennard_jones_of_ase() -> None:
    atoms = bulk("Ar", "fcc", a=5.2, cubic=True)
    atoms.rattle(0.1, seed=4)
    cutoff = 6.0
    atoms.calc = HesspotCalculator(LennardJones(["Ar"], cutoff, matrix(0.0104), matrix(3.4)))
    mine = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
    # ASE shifts the pair energy to zero at the cutoff
    n_pairs = len(neighbor_list("i", atoms, cutoff)) / 2
    shift = 4 * 0.0104 * ((3.4 / cutoff) ** 12 - (3.4 / cutoff) ** 6)
    atoms.calc = AseLennardJones(epsilon=0.0104, sigma=3.4, rc=cutoff)
    assert mine[0] == pytest.approx(atoms.get_potential_energy() + n_pairs * shift, abs=ROUNDING)
    np.testing.assert_allclose(mine[1], atoms.get_forces(), atol=ROUNDING)
    np.testing.assert_allclose(mine[2], atoms.get_stress(), atol=ROUNDING)


def test_molecules_without_a_cell_have_no_stress() -> None:
    atoms = molecule("H2O")
    atoms.calc = HesspotCalculator(house())
    atoms.get_potential_energy()
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()


def test_results_follow_the_atoms_and_can_be_written(tmp_path: Path) -> None:
    atoms = molecule("H2O")
    atoms.calc = HesspotCalculator(house())
    before = atoms.get_potential_energy()
    atoms.calc.get_hessian(atoms)
    write(tmp_path / "water.traj", atoms)
    assert read(tmp_path / "water.traj").get_potential_energy() == pytest.approx(before, abs=ROUNDING)
    atoms.positions[0, 2] += 0.1
    assert abs(atoms.get_potential_energy() - before) > FORCE


def test_the_frequencies_of_ase_follow_from_the_analytic_hessian(tmp_path: Path) -> None:
    atoms = molecule("H2O")
    atoms.calc = HesspotCalculator(house())
    vibrations = Vibrations(atoms, name=str(tmp_path / "vib"), delta=1e-3)
    vibrations.run()
    numerical = normal_modes(atoms, vibrations.get_vibrations().get_hessian_2d())
    analytic = normal_modes(atoms, atoms.calc.get_hessian(atoms))
    np.testing.assert_allclose(analytic.frequencies, numerical.frequencies, atol=0.1)  # cm⁻¹, truncation


def test_single_precision_is_close_and_bad_dtypes_are_refused(tmp_path: Path) -> None:
    model = house()
    path = tmp_path / "model.pt"
    write_model(path, model, [fingerprint_entry(model, "water", molecule("H2O"))])
    atoms = molecule("CH3OH")
    answers = {}
    for dtype in ("float64", "float32"):
        atoms.calc = HesspotCalculator(path, dtype=dtype)
        answers[dtype] = atoms.get_forces()
        assert answers[dtype].dtype == np.float64
    difference = np.abs(answers["float32"] - answers["float64"]).max()
    assert 0.0 < difference < SINGLE
    with pytest.raises(UserError, match=r"'float16'.*float64 or float32"):
        HesspotCalculator(path, dtype="float16")


def test_elements_that_the_model_lacks_are_named() -> None:
    atoms = molecule("NH3")
    atoms.calc = HesspotCalculator(house())
    with pytest.raises(UserError, match="element N of atom 0"):
        atoms.get_potential_energy()
