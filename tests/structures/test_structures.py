"""The door for structures: what files say about atoms stays, and what no engine can answer for is refused."""

import re
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.constraints import FixAtoms, FixBondLengths, FixCartesian
from ase.data import atomic_masses

from hesspot.contract import build_batch
from hesspot.derivatives import evaluate
from hesspot.errors import UserError
from hesspot.models.house import HouseConfig, HouseModel
from hesspot.neighbors import find_edges
from hesspot.structures import (
    COINCIDENT,
    FLATTEST,
    cell_heights,
    check_structure,
    fixed_coordinates,
    full_cell,
    in_a_box,
    iterate_structures,
    nearest_atoms,
    read_structure,
    read_structures,
    right_handed,
)

HEAVY = [15.999, 2.014, 2.014]
#: Sums in another order.
ROUNDING = 1e-10

PLAIN = "3\n{comment}\nO 0 0 0{a}\n{h} 0 0.757 0.586{b}\n{h} 0 -0.757 0.586{b}\n"


def written(path: Path, comment: str = "", a: str = "", b: str = "", h: str = "H") -> Path:
    path.write_text(PLAIN.format(comment=comment, a=a, b=b, h=h))
    return path


@pytest.mark.parametrize("h", ["D", "d"])
@pytest.mark.parametrize("comment", ["", "heavy water", "Properties=species:S:1:pos:R:3 charge=1 spin=2"])
def test_deuterium_is_hydrogen_of_its_mass(tmp_path, comment, h):
    atoms = read_structure(written(tmp_path / "start.xyz", comment, h=h))
    assert atoms.get_chemical_symbols() == ["O", "H", "H"]
    np.testing.assert_array_equal(atoms.get_masses(), HEAVY)
    if "charge" in comment:
        assert (atoms.info["charge"], atoms.info["spin"]) == (1, 2)


def test_tritium_beside_other_columns(tmp_path):
    columns = "charges:R:1:pos:R:3:species:S:1:move_mask:L:1"
    comment = f'pos="1 2" Properties={columns} pbc="T F F" Lattice="9 0 0 0 8 0 0 0 7"'
    (tmp_path / "a.xyz").write_text(f"2\n{comment}\n0.5 0 0 0 T F\n-0.5 0 0 1.1 Cl T\n")
    atoms = read_structure(tmp_path / "a.xyz")
    assert atoms.get_chemical_symbols() == ["H", "Cl"]
    np.testing.assert_array_equal(atoms.get_masses(), [3.016, atomic_masses[17]])
    np.testing.assert_array_equal(atoms.pbc, [True, False, False])
    np.testing.assert_array_equal(fixed_coordinates(atoms, "here"), [[True] * 3, [False] * 3])
    np.testing.assert_array_equal(atoms.positions[1], [0, 0, 1.1])


@pytest.mark.parametrize("name", ["mass", "masses"])
@pytest.mark.parametrize("h", ["H", "D"])
def test_a_column_of_masses_is_honoured(tmp_path, name, h):
    comment = f"Properties=species:S:1:pos:R:3:{name}:R:1"
    atoms = read_structure(written(tmp_path / "a.xyz", comment, " 17.999", " 2.5", h))
    np.testing.assert_array_equal(atoms.get_masses(), [17.999, 2.5, 2.5])
    assert "mass" not in atoms.arrays


def test_masses_survive_what_ase_writes(tmp_path):
    heavy = molecule("H2O")
    heavy.set_masses(HEAVY)
    for name in ("a.xyz", "a.traj", "a.json"):
        heavy.write(tmp_path / name)
        np.testing.assert_array_equal(read_structure(tmp_path / name).get_masses(), HEAVY)


@pytest.mark.parametrize(
    ("comment", "a", "b", "words"),
    [
        ("Properties=species:S:1:pos:R:3:mass:R:1", " 1658.15", " 104.5", "mass 1658.15 for atom 0, O of usually"),
        ("Properties=species:S:1:pos:R:3:mass:R:1", " 16", " 0", "mass 0 for atom 1, H of usually 1.008 amu"),
        ("Properties=species:S:1:pos:R:3:masses:R:1", " 16", " -1", "mass -1 for atom 1"),
        ("Properties=species:S:1:pos:R:3:mass:R:1", " 16", " nan", "mass nan for atom 1"),
        ("Properties=species:S:1:pos:R:3:mass:S:1", " 16", " light", "column mass that is no number"),
        ("Properties=species:S:1:pos:R:3:mass:R:1:masses:R:1", " 16 16", " 1 2", "mass and masses, which differ"),
    ],
)
def test_impossible_masses_are_refused(tmp_path, comment, a, b, words):
    with pytest.raises(UserError, match=words):
        read_structure(written(tmp_path / "a.xyz", comment, a, b))


def test_the_last_frame_is_taken_and_that_is_told(tmp_path):
    frames = [molecule("H2O") for _ in range(3)]
    for number, frame in enumerate(frames):
        frame.positions += number
    for name in ("run.xyz", "run.traj"):
        path, told = tmp_path / name, []
        ase.io.write(path, frames)
        np.testing.assert_allclose(read_structure(path, told.append).positions, frames[2].positions)
        assert len(told) == 1 and "the last is taken" in told[0] and f"{path}@0" in told[0]
        np.testing.assert_allclose(read_structure(f"{path}@1", told.append).positions, frames[1].positions)
        assert len(read_structures(path)) == 3 and len(read_structures(f"{path}@1:")) == 2
        ase.io.write(path, frames[:1])
        read_structure(path, told.append)
        assert len(told) == 1
    ase.io.write(path, frames)
    with pytest.raises(UserError, match=r"run.traj has no structure 7"):
        read_structure(f"{path}@7")
    with pytest.raises(UserError, match=r"names 2 structures"):
        read_structure(f"{path}@1:")


def test_every_frame_has_its_isotopes(tmp_path):
    frames = written(tmp_path / "1.xyz", h="D").read_text() + written(tmp_path / "2.xyz").read_text()
    (tmp_path / "both.xyz").write_text(frames)
    (tmp_path / "later.xyz").write_text(written(tmp_path / "2.xyz").read_text() + frames)
    later = list(iterate_structures(tmp_path / "later.xyz"))
    assert [atoms.get_masses()[1] for atoms in later] == [atomic_masses[1], 2.014, atomic_masses[1]]
    heavy, light = read_structures(tmp_path / "both.xyz")
    assert heavy.get_masses()[1] == 2.014 and light.get_masses()[1] == atomic_masses[1]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.xyz", "1\n\nQq 0 0 0\n", "'Qq' where a symbol of an element should be"),
        ("a.xyz", "1\n\nO 0 0 x\n", "cannot be read by ASE"),
        ("a.xyz", "2\n\nO 0 0 0\n", "cannot be read by ASE"),
        ("a.xyz", "", "cannot be read by ASE"),
        ("a.xyz", "0\n\n", "has no atoms"),
        ("a.xyz", "1\n\nX 0 0 0\n", "atom 0 of atomic number 0, a dummy or ghost atom"),
        ("a.xyz", '1\nLattice="nan 0 0 0 5 0 0 0 5"\nO 0 0 0\n', "cell with nan in it"),
        ("a.xyz", '1\npbc="T T F"\nO 0 0 0\n', "periodic along a, but has no lattice"),
        ("POSCAR", "D\n1\n5 0 0\n0 5 0\n0 0 5\nD\n1\nCartesian\n0 0 0\n", "symbol D, which ASE does not read in this"),
    ],
)
def test_files_that_cannot_be_used_are_refused_by_name(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=words) as caught:
        read_structure(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    with pytest.raises(UserError, match=words):
        read_structures(tmp_path / name)


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(UserError, match=r"none.xyz does not exist"):
        read_structure(tmp_path / "none.xyz")
    with pytest.raises(UserError, match="is a folder"):
        read_structure(tmp_path)


def crystal(**changes) -> Atoms:
    atoms = Atoms("OH", [[0, 0, 0], [0, 0, 1.0]], cell=np.diag([4.0, 5.0, 6.0]), pbc=True)
    if "masses" in changes:
        atoms.set_masses(changes.pop("masses"))
    for name, value in changes.items():
        setattr(atoms, name, value)
    return atoms


def moved(atom: int, *place: float) -> Atoms:
    atoms = crystal()
    atoms.positions[atom] = place
    return atoms


#: Structures that no engine answers for, and the words that name value and place.
BAD = {
    "no atoms": (Atoms(), "no atoms"),
    "ghost": (Atoms("OX", [[0, 0, 0], [0, 0, 1]]), "atom 1 of atomic number 0"),
    "number 119": (Atoms([8, 119], [[0, 0, 0], [0, 0, 1]]), "atom 1 of atomic number 119"),
    "position NaN": (moved(1, 0, np.nan, 0), "atom 1 at 0, nan, 0"),
    "position infinite": (moved(0, np.inf, 0, 0), "atom 0 at inf, 0, 0"),
    "position far": (moved(0, 2e6, 0, 0), "coordinate of 2e[+]06"),
    "cell NaN": (crystal(cell=np.diag([4, np.nan, 6])), "cell with nan"),
    "cell infinite": (crystal(cell=np.diag([4, np.inf, 6])), "cell with inf"),
    "cell huge": (crystal(cell=np.diag([4, 1e9, 6])), "cell with 1e[+]09"),
    "cell NaN, not periodic": (crystal(cell=np.diag([4, np.nan, 6]), pbc=False), "cell with nan"),
    "cell thin": (crystal(cell=np.diag([4, 5, 1e-7])), r"1e-07 Å high along c"),
    "cell flat by its angle": (crystal(cell=[[4, 0, 0], [0, 5, 0], [3, 0, 0.3]]), r"Å high along c"),
    "no cell": (crystal(cell=np.zeros((3, 3))), "periodic along a, but has no lattice"),
    "slab without b": (crystal(cell=np.diag([4, 0, 0]), pbc=[True, True, False]), "periodic along b, but has no"),
    "dependent": (crystal(cell=[[4, 0, 0], [0, 5, 0], [4, 5, 0]]), "depend on each other"),
    "dependent in a slab": (crystal(cell=[[4, 0, 0], [8, 0, 0], [0, 0, 9]], pbc=[1, 1, 0]), "depend on each other"),
    "coincident": (moved(1, 0, 0, 1e-5), "atoms 0 and 1 on one place, 1e-05 Å apart"),
    "coincident over the wall": (moved(1, 4.0, -5.0, 6.0 - 1e-5), "atoms 0 and 1 on one place, 1e-05 Å apart"),
    "mass": (crystal(masses=[16.0, np.inf]), "mass inf for atom 1, H of usually 1.008 amu"),
    "far along a slab": (crystal(positions=[[0, 0, 0], [0, 0, 5e4]], pbc=[1, 1, 0]), "coordinate of 5e[+]04"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_no_engine_answers_for_is_refused(name):
    atoms, words = BAD[name]
    with pytest.raises(UserError, match=f"^bead 7 (has|is) .*{words}"):
        check_structure(atoms, "bead 7")
    with pytest.raises(UserError, match=words):
        build_batch([atoms], ["H", "O"], 4.0)


@pytest.mark.parametrize("pbc", [False, True, [True, False, False], [False, True, True]])
def test_what_has_an_answer_is_let_in(pbc):
    check_structure(crystal(pbc=pbc), "it")
    check_structure(crystal(pbc=pbc, cell=[[0, 4, 1], [5, 0, 0], [0, 1, -6]]), "it")
    check_structure(crystal(pbc=pbc, cell=np.diag([4, 5, FLATTEST + 1e-6]), positions=[[0, 0, 0], [1, 1, 0]]), "it")
    near = crystal(pbc=pbc, positions=[[0, 0, 0], [0, 0, 1.01 * COINCIDENT]])
    check_structure(near, "it")
    assert nearest_atoms(Atoms("O"))[2] == np.inf


@pytest.mark.parametrize("pbc", [False, True, [True, True, False]])
@pytest.mark.parametrize("cell", [np.diag([4.0, 5.0, 6.0]), [[4, 0, 0], [3.9, 0.7, 0], [3.9, 0.6, 0.9]]])
def test_the_limit_of_coincidence_is_one_in_all_directions(pbc, cell):
    """In a skewed cell a small step is a large one in the units of its vectors."""
    directions = np.random.default_rng(4).normal(size=(20, 3))
    for direction in directions / np.linalg.norm(directions, axis=1, keepdims=True):
        positions = np.array([[0.1, 0.2, 0.3], [0.1, 0.2, 0.3] + 0.99 * COINCIDENT * direction])
        with pytest.raises(UserError, match="atoms 0 and 1 on one place"):
            check_structure(crystal(cell=cell, pbc=pbc, positions=positions), "it")
        positions[1] = positions[0] + 1.01 * COINCIDENT * direction
        check_structure(crystal(cell=cell, pbc=pbc, positions=positions), "it")


def test_an_atom_a_rounding_below_the_wall_is_at_the_wall():
    atoms = crystal(positions=[[1.0, -1e-17, -1e-18], [1.0, 5.0, 3.0]])
    check_structure(atoms, "it")
    atoms.positions[1] = [1.0, 0.0, 6.0]
    assert nearest_atoms(atoms) == (0, 1, 0.0)


def test_the_nearest_atoms_are_found():
    atoms = Atoms("H50", positions=np.random.default_rng(5).uniform(0, 9, (50, 3)))
    distances = atoms.get_all_distances() + 99 * np.eye(50)
    first, second, distance = nearest_atoms(atoms)
    assert distance == pytest.approx(distances.min()) and distances[first, second] == distances.min()
    atoms.positions[33] = atoms.positions[12]
    assert nearest_atoms(atoms) == (12, 33, 0.0)


def house() -> HouseModel:
    model = HouseModel(HouseConfig(elements=["H", "C", "O"], cutoff=4.0, n_radial=4, n_channels=3, hidden=[16]))
    model.scale.fill_(5.0)
    return model.requires_grad_(False).eval()


@pytest.mark.parametrize("pbc", [True, [True, True, False], [False, True, False], False])
def test_turning_and_boxing_change_no_physics(pbc):
    left = Atoms(
        "OHC",
        [[0.1, 0, 0], [0.9, 0.3, 0.1], [0.2, -1.2, 0.4]],
        cell=[[3.5, 0.2, 0], [-0.5, 0.6, 3.8], [0.7, 3.2, 0.4]],
        pbc=pbc,
    )
    assert np.linalg.det(left.cell.array) < 0
    model = house()
    found = [evaluate(model, build_batch([a], model.elements, 4.0), virial=True) for a in (left, in_a_box(left, 9.0))]
    assert found[0].energy == pytest.approx(found[1].energy, abs=ROUNDING)
    np.testing.assert_allclose(found[0].forces, found[1].forces, atol=ROUNDING)
    np.testing.assert_allclose(found[0].virial, found[1].virial, atol=ROUNDING)
    boxed = in_a_box(left, 9.0)
    assert boxed.get_volume() > 0 and np.linalg.det(boxed.cell.array) > 0
    np.testing.assert_array_equal(boxed.positions, left.positions)
    for axis in np.flatnonzero(~left.pbc):
        vector, others = boxed.cell[axis], np.delete(boxed.cell.array, axis, 0)
        np.testing.assert_allclose(others @ vector, 0, atol=ROUNDING)
        extent = np.ptp(left.positions @ vector) / np.linalg.norm(vector)
        assert np.linalg.norm(vector) == pytest.approx(extent + 9.0)
    turned = right_handed(left)
    assert np.linalg.det(turned.cell.array) > 0
    np.testing.assert_allclose(turned.cell.cellpar(), left.cell.cellpar(), atol=ROUNDING)
    np.testing.assert_array_equal(right_handed(turned).cell.array, turned.cell.array)


def test_heights_of_a_cell():
    primitive = bulk("C", "diamond", a=3.567)
    np.testing.assert_allclose(cell_heights(primitive.cell.array, primitive.pbc), 3.567 / np.sqrt(3))
    slab = np.array([[4.0, 0, 0], [3.0, 2.0, 0], [np.nan, 0, 0]])
    np.testing.assert_allclose(cell_heights(slab, np.array([True, True, False])), [8 / np.sqrt(13), 2.0, np.inf])
    assert np.linalg.det(full_cell(slab, [True, True, False])) == pytest.approx(8.0)


def test_a_cell_is_not_looked_at_where_it_is_not_periodic():
    pbc = np.array([True, False, True])
    positions = crystal().positions
    one, other = (find_edges(positions, np.diag([4.0, b, 6.0]), pbc, 5.0) for b in (0.0, 123.0))
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_constraints_are_honoured_or_refused():
    atoms = molecule("H2O")
    assert not fixed_coordinates(atoms, "it").any()
    atoms.set_constraint([FixAtoms([0]), FixCartesian(2, mask=(True, False, False))])
    np.testing.assert_array_equal(fixed_coordinates(atoms, "it"), [[1, 1, 1], [0, 0, 0], [1, 0, 0]])
    atoms.set_constraint([FixAtoms([1]), FixCartesian(1, mask=(False, True, False))])
    np.testing.assert_array_equal(fixed_coordinates(atoms, "it")[1], [True] * 3)
    atoms.set_constraint(FixBondLengths([[0, 1]]))
    with pytest.raises(UserError, match=re.escape("it has the constraint FixBondLengths")):
        fixed_coordinates(atoms, "it")
