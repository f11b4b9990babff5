"""The pair style against the exported model in Python, and against LAMMPS's own lj/cut."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from lammps_runs import FORCE_TOLERANCE, assert_same, expected, hesspot_pair, single_point

from hesspot.lammps import run_lammps
from hesspot.lammps.structure import write_data
from hesspot.units import KCAL_PER_MOL

pytestmark = pytest.mark.lammps

ELEMENTS = ["O", "C", "N", "H"]  # not the model's order

#: LAMMPS's lj/cut and the exported Lennard-Jones do the same arithmetic in another order.
ORACLE_TOLERANCE = 1e-10

#: float32 rounds forces of some eV/Å, sums of about 100 edges, to about 1e-5 eV/Å.
SINGLE_TOLERANCE = 1e-3

#: Two trajectories differ by rounding that grows along them; after 50 steps still far below this (Å).
TRAJECTORY_TOLERANCE = 1e-9


def water_crystal() -> Atoms:
    cell = molecule("H2O")
    cell.set_cell([3.1, 3.2, 3.3])
    cell.pbc = True
    atoms = cell * (2, 2, 2)
    atoms.rattle(0.05, seed=3)
    return atoms


def small_triclinic() -> Atoms:
    """A left-handed cell smaller than the cutoff, turned in space, one atom outside of it."""
    atoms = Atoms(
        "CNO",
        positions=[[0, 0, 0], [1.2, 0.1, 0.3], [2.0, 1.5, -7]],
        cell=[[0.3, 3.1, 0.2], [2.8, 0.5, 0.7], [-0.4, 1.2, 4.0]],
        pbc=True,
    )
    atoms.rotate(33, (1, 2, 3), rotate_cell=True)
    return atoms


def wire() -> Atoms:
    return Atoms(
        "CNO", positions=[[0, 0, 0], [1.2, 0.1, 0.3], [2.0, 1.5, 2]], cell=[0, 3.4, 0], pbc=[False, True, False]
    )


def isolated_atoms() -> Atoms:
    """Two atoms out of each other's reach."""
    return Atoms("CO", positions=[[0, 0, 0], [0, 0, 30.0]])


def corner_molecule() -> Atoms:
    """A molecule in the corner of a box that is divided among the ranks: most have no atom."""
    atoms = molecule("CH3OH")
    atoms.positions -= atoms.positions.min(0) - 0.5
    atoms.set_cell([40.0, 40.0, 40.0])
    atoms.pbc = True
    return atoms


STRUCTURES = {f.__name__: f for f in (water_crystal, small_triclinic, wire, isolated_atoms, corner_molecule)}


@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_same_as_in_python_on_any_number_of_ranks(
    tmp_path: Path, house_model_file: Path, structure: str, ranks: int
) -> None:
    atoms = STRUCTURES[structure]()
    assert_same(
        single_point(tmp_path, atoms, ELEMENTS, hesspot_pair(house_model_file, ELEMENTS), ranks=ranks),
        atoms,
        house_model_file,
    )


@pytest.mark.parametrize("backend", ["torchscript", "kernel"])
def test_backends_agree(tmp_path: Path, house_model_file: Path, backend: str) -> None:
    atoms = water_crystal()
    pair = hesspot_pair(house_model_file, ELEMENTS, f"backend {backend}")
    assert_same(single_point(tmp_path, atoms, ELEMENTS, pair, ranks=2), atoms, house_model_file)


def test_portions_of_the_centres_change_nothing(tmp_path: Path, house_model_file: Path) -> None:
    atoms = water_crystal()
    pair = hesspot_pair(house_model_file, ELEMENTS, "max_edges 100")
    assert_same(single_point(tmp_path, atoms, ELEMENTS, pair), atoms, house_model_file)


def test_a_wide_skin_changes_nothing(tmp_path: Path, house_model_file: Path) -> None:
    atoms = water_crystal()
    pair = hesspot_pair(house_model_file, ELEMENTS) + "\nneighbor 4.0 bin"
    assert_same(single_point(tmp_path, atoms, ELEMENTS, pair, ranks=2), atoms, house_model_file)


@pytest.mark.parametrize("ranks", [1, 2])
def test_lennard_jones_is_lj_cut(tmp_path: Path, lj_model_file: Path, ranks: int) -> None:
    atoms = bulk("Ar", "fcc", a=5.2, cubic=True) * (2, 2, 3)
    atoms.symbols[::3] = "Ne"
    atoms.rattle(0.15, seed=2)
    lj_cut = """pair_style lj/cut 6.0
pair_coeff 1 1 0.010 3.4
pair_coeff 1 2 0.007 3.1
pair_coeff 2 2 0.003 2.8"""
    (tmp_path / "theirs").mkdir()
    theirs = single_point(tmp_path / "theirs", atoms, ["Ar", "Ne"], lj_cut)
    ours = single_point(tmp_path, atoms, ["Ar", "Ne"], hesspot_pair(lj_model_file, ["Ar", "Ne"]), ranks=ranks)
    assert abs(theirs.forces).max() > 0.1
    np.testing.assert_allclose(ours.energy, theirs.energy, atol=ORACLE_TOLERANCE, rtol=0)
    for name in ("forces", "virial", "atom_energies", "atom_stress", "centroid_stress"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=ORACLE_TOLERANCE, rtol=0)


def test_units_real_are_kcal_per_mol(tmp_path: Path, house_model_file: Path) -> None:
    atoms = water_crystal()
    pair = hesspot_pair(house_model_file, ELEMENTS)
    point = single_point(tmp_path, atoms, ELEMENTS, pair, units="real", ranks=2)
    answer = expected(house_model_file, atoms)
    np.testing.assert_allclose(point.energy * KCAL_PER_MOL, answer.energy[0], rtol=1e-13)
    np.testing.assert_allclose(point.atom_energies * KCAL_PER_MOL, answer.atom_energies, rtol=1e-13)
    np.testing.assert_allclose(point.forces * KCAL_PER_MOL, answer.forces, atol=FORCE_TOLERANCE, rtol=0)


def test_single_precision_is_near_and_not_the_same(tmp_path: Path, house_model_file: Path) -> None:
    atoms = water_crystal()
    pair = hesspot_pair(house_model_file, ELEMENTS, "precision single")
    difference = abs(
        single_point(tmp_path, atoms, ELEMENTS, pair).forces - expected(house_model_file, atoms).forces.numpy()
    )
    assert FORCE_TOLERANCE < difference.max() < SINGLE_TOLERANCE


def test_atoms_of_a_null_type_are_neither_centres_nor_neighbours(tmp_path: Path, house_model_file: Path) -> None:
    atoms = water_crystal()
    pair = hesspot_pair(house_model_file, ["O", "C", "N", "NULL"])
    point = single_point(tmp_path, atoms, ELEMENTS, pair, ranks=2)
    oxygen = np.array(atoms.get_chemical_symbols()) == "O"
    answer = expected(house_model_file, atoms[oxygen])
    np.testing.assert_allclose(point.forces[oxygen], answer.forces, atol=FORCE_TOLERANCE, rtol=0)
    assert not point.forces[~oxygen].any() and not point.atom_energies[~oxygen].any()


def test_hybrid_overlay_adds_to_another_style(tmp_path: Path, house_model_file: Path) -> None:
    atoms = water_crystal()
    pair = f"""pair_style hybrid/overlay hesspot zero 5.0
pair_coeff * * hesspot "{house_model_file}" {" ".join(ELEMENTS)}
pair_coeff * * zero"""
    assert_same(single_point(tmp_path, atoms, ELEMENTS, pair, ranks=2), atoms, house_model_file)


def test_two_models_of_disjoint_types_in_hybrid(tmp_path: Path, house_model_file: Path) -> None:
    atoms = water_crystal()
    pair = f"""pair_style hybrid hesspot hesspot zero 5.0
pair_coeff * * hesspot 1 "{house_model_file}" O C N NULL
pair_coeff * * hesspot 2 "{house_model_file}" NULL NULL NULL H
pair_coeff 1*3 4 zero"""
    point = single_point(tmp_path, atoms, ELEMENTS, pair, ranks=2)
    symbols = np.array(atoms.get_chemical_symbols())
    for element in "OH":
        mine = symbols == element
        answer = expected(house_model_file, atoms[mine])
        np.testing.assert_allclose(point.forces[mine], answer.forces, atol=FORCE_TOLERANCE, rtol=0)


def test_nve_is_the_same_trajectory_on_one_and_two_ranks(tmp_path: Path, lj_model_file: Path) -> None:
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True) * (2, 2, 3)
    atoms.symbols[::3] = "Ne"
    atoms.rattle(0.1, seed=4)
    final = {}
    for ranks in (1, 2):
        folder = tmp_path / str(ranks)
        folder.mkdir()
        write_data(folder / "start.data", atoms, ["Ar", "Ne"])
        script = f"""units metal
atom_style atomic
read_data start.data
{hesspot_pair(lj_model_file, ["Ar", "Ne"])}
velocity all create 300 7
neighbor 0.3 bin
neigh_modify every 1 delay 0
fix 1 all nve
timestep 0.004
run 50
write_dump all custom end.dump xu yu zu vx vy vz modify sort id format float %.17g
"""
        ended = run_lammps(script, ranks, folder, ["-log", "none"])
        assert ended.returncode == 0, ended.stdout
        builds = int(ended.stdout.split("Neighbor list builds =")[1].split()[0])
        assert builds > 0, "atoms must move enough to change their neighbour lists"
        final[ranks] = np.loadtxt(folder / "end.dump", skiprows=9)
    np.testing.assert_allclose(final[1], final[2], atol=TRAJECTORY_TOLERANCE, rtol=0)
