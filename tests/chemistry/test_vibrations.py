"""Vibrations: the same numbers as ASE's by finite differences, masses and characters by formulas."""

import json
import re

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.constraints import FixAtoms
from ase.vibrations import Vibrations as DifferencesOfAse

from hesspot.chemistry.internal_coordinates import bends, bonds, stretches, torsions
from hesspot.chemistry.mode_files import write_molden, write_xyz
from hesspot.chemistry.surface import Surface
from hesspot.chemistry.thermochemistry import Conditions
from hesspot.chemistry.vibration_report import notes
from hesspot.chemistry.vibrations import hold, vibrations, with_masses
from hesspot.cli.main import main
from hesspot.errors import UserError
from hesspot.units import BOHR, SQRT_EV_PER_A2_AMU

#: cm⁻¹, of ASE's differences of fourth order over 0.01 Å; at most 0.01 at 63 minima and saddle points of a shipped set.
DIFFERENCES = 0.02
#: Å or rad per Å, of central differences over 1e-4 Å.
GRADIENT = 1e-6
#: Part of a curvature, of the second difference over 1e-3 Å.
SECOND_DIFFERENCE = 1e-4
#: cm⁻¹, of minima that two searches end at.
SAME_MINIMUM = 1e-4
#: Part of a number that was printed with eight digits after its point.
PRINTED = 2e-8
#: Of numbers that the same formula gives in another order of its terms.
ROUNDING = 1e-10


@pytest.fixture(scope="module")
def surface() -> Surface:
    return Surface("shipped:grown")


def bent_hcn() -> Atoms:
    """Near the saddle point between HCN and HNC."""
    return Atoms("CNH", positions=[[0, 0, 0], [1.19, 0, 0], [0.35, 1.15, 0]])


CASES = {
    "molecule": (lambda: molecule("H2CO"), "minimum"),
    "linear molecule": (lambda: molecule("HCN"), "minimum"),
    "saddle point": (bent_hcn, "saddle"),
    "held atoms": (lambda: hold(molecule("CH3OH"), None, [0, 2]), "minimum"),
    "isotopes": (lambda: with_masses(molecule("H2O"), ["H=2.014", "2=3.016"]), "minimum"),
}


@pytest.mark.parametrize("case", CASES)
def test_frequencies_are_those_of_ase(case, surface, tmp_path):
    start, goal = CASES[case]
    found = vibrations(surface, start(), goal=goal)
    atoms = surface.attach(found.atoms)
    free = sorted(set(range(len(atoms))) - {atom for each in atoms.constraints for atom in each.index})
    expected = DifferencesOfAse(atoms, indices=free, name=str(tmp_path / "vib"), delta=0.01, nfree=4)
    expected.run()
    values = expected.get_frequencies()
    values = np.where(np.abs(values.imag) > np.abs(values.real), -np.abs(values.imag), values.real)
    rigid = {"held atoms": 1, "linear molecule": 5}.get(case, 6)  # around the axis of two held atoms the rest turns
    values = np.sort(values[np.argsort(np.abs(values))][rigid:])
    np.testing.assert_allclose(found.frequencies, values, atol=DIFFERENCES)
    assert (values < 0).sum() == found.point.order == (goal == "saddle")


def test_reduced_mass_and_force_constant_of_a_diatomic(surface):
    found = vibrations(surface, with_masses(molecule("CO"), ["C=13.003"]))
    masses = found.atoms.get_masses()
    textbook = masses.prod() / masses.sum()
    per_length = (masses.sum() / np.hypot(*masses)) ** 2  # bond length squared by that of the way of all atoms
    np.testing.assert_allclose(found.reduced_masses, [per_length * textbook], rtol=ROUNDING)
    bond, step = found.atoms.get_distance(0, 1), 1e-3

    def energy(length: float) -> float:
        return surface.energy_and_forces(Atoms("CO", positions=[[0, 0, 0], [length, 0, 0]]))[0]

    curvature = (energy(bond + step) - 2.0 * energy(bond) + energy(bond - step)) / step**2
    np.testing.assert_allclose(found.force_constants, [per_length * curvature], rtol=SECOND_DIFFERENCE)
    expected = SQRT_EV_PER_A2_AMU * np.sqrt(curvature / textbook)
    np.testing.assert_allclose(found.frequencies, [expected], rtol=SECOND_DIFFERENCE)


def test_gradients_of_internal_coordinates_are_slopes():
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.05, seed=2)
    neighbors, step = bonds(atoms), 1e-4
    measures = {
        "stretch": lambda at, who: at.get_distance(*who),
        "bend": lambda at, who: np.radians(at.get_angle(*who)),
        "torsion": lambda at, who: np.radians(at.get_dihedral(*who)),
    }
    coordinates = [*stretches(neighbors), *bends(neighbors), *torsions(neighbors)]
    counts = [sum(each.kind == kind for each in coordinates) for kind in measures]
    assert counts == [8, 6 + 6 + 1, 9 + 3]
    for coordinate in coordinates:
        for k, atom in enumerate(coordinate.atoms):
            for axis in range(3):
                values = []
                for sign in (1, -1):
                    moved = atoms.copy()
                    moved.positions[atom, axis] += sign * step
                    values.append(measures[coordinate.kind](moved, coordinate.atoms))
                slope = np.remainder(values[0] - values[1] + np.pi, 2 * np.pi) - np.pi
                assert slope / (2 * step) == pytest.approx(coordinate.gradient[k, axis], abs=GRADIENT)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("H2O", ["H–O–H bend", "O–H stretch", "O–H stretch"]),
        ("HCN", ["N–C–H bend", "N–C–H bend", "C–N stretch", "C–H stretch"]),
        ("H2CO", ["C out of plane", "O–C–H bend", "H–C–H bend", "C–O stretch", "C–H stretch", "C–H stretch"]),
        ("H2O2", ["O–O torsion", "O–O stretch", "O–O–H bend", "O–O–H bend", "O–H stretch", "O–H stretch"]),
    ],
)
def test_modes_are_named_as_textbooks_do(name, words, surface):
    found = vibrations(surface, molecule(name))
    assert [re.split(r" \d", character.words)[0] for character in found.characters] == words
    for character in found.characters:
        assert sum(character.shares.values()) == pytest.approx(1.0, abs=ROUNDING)
        assert sum(character.atoms) == pytest.approx(1.0, abs=ROUNDING)


def test_isotopes_have_their_names(surface):
    found = vibrations(surface, with_masses(molecule("H2O"), ["1=2.014"]))
    assert [character.words.split(" 9")[0].split(" 1")[0] for character in found.characters] == [
        "D–O–H bend",
        "O–D stretch",
        "O–H stretch",
    ]


def test_molecules_that_move_against_each_other_are_told():
    pair = Atoms(
        "OH2OH2", positions=[[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0], [2.9, 0, 0], [3.2, 0.6, 0.7], [3.2, 0.6, -0.7]]
    )
    found = vibrations("shipped:water", pair)
    assert all(character.shares["rest"] > 0.9 for character in found.characters[:6])
    assert found.characters[0].words.startswith("between molecules")
    assert all(character.shares["rest"] < 0.1 for character in found.characters[6:])


def test_only_atoms_that_move_have_a_share(surface):
    found = vibrations(surface, hold(molecule("CH3OH"), [1, 3], None))
    assert len(found.frequencies) == 6 and found.n_held == 12
    for character in found.characters:
        assert character.atoms[1] + character.atoms[3] == pytest.approx(1.0, abs=ROUNDING)


def test_a_molecule_that_turns_in_a_box_has_the_energies_of_its_vibrations(surface):
    boxed = molecule("H2O", vacuum=8.0, pbc=True)
    found, free = vibrations(surface, boxed), vibrations(surface, molecule("H2O"))
    assert len(found.frequencies) == 6
    np.testing.assert_allclose(found.real, free.frequencies, atol=SAME_MINIMUM)
    assert any("3 modes of at most 1 cm⁻¹" in line for line in notes(found, Conditions()))


def test_a_single_atom_has_no_vibrations(surface):
    found = vibrations(surface, Atoms("N"))
    assert len(found.frequencies) == 0 and found.zero_point_energy == 0.0 and found.characters == []


def test_files_of_modes_are_read_by_others(surface, tmp_path):
    import cclib.io
    from cclib.parser.data import ccData

    found = vibrations(surface, bent_hcn(), goal="saddle", scale=0.96)
    write_xyz(tmp_path / "modes.xyz", found)
    frames = ase.io.read(tmp_path / "modes.xyz", ":")
    assert [frame.info["frequency"] for frame in frames] == pytest.approx(found.frequencies, rel=PRINTED)
    for frame, displacement in zip(frames, found.displacements, strict=True):
        np.testing.assert_allclose(frame.arrays["mode"], displacement, atol=PRINTED)
    write_molden(tmp_path / "modes.molden", found)
    own = (tmp_path / "modes.molden").read_text().split()
    data = ccData(
        {
            "natom": 3,
            "atomnos": found.atoms.numbers,
            "atomcoords": found.atoms.positions[None],
            "vibfreqs": found.frequencies,
            "vibdisps": found.displacements,
        }
    )
    theirs = cclib.io.moldenwriter.MOLDEN(data).generate_repr()
    theirs = theirs[theirs.index("[FREQ]") :].split()
    assert len(own[2:]) == len(theirs)
    for mine, their in zip(own[2:], theirs, strict=True):
        assert mine == their or float(mine) == pytest.approx(float(their), abs=1e-7 / BOHR)


@pytest.mark.parametrize(
    ("stated", "sentence"),
    [
        ("H", r"--mass 'H' names no mass; write it as in H=2.014"),
        ("H=heavy", r"--mass 'H=heavy' names no mass"),
        ("N=15", r"names 'N', of which OH2 has no atom"),
        ("7=2", r"names atom 7, and the atoms of OH2 are 0 to 2"),
        ("H=-1", r"is no mass; give a positive number of amu"),
        ("H=nan", r"is no mass; give a positive number of amu"),
        ("H=1837", r"has the mass 1837 for atom 1, H of usually 1.008 amu"),
    ],
)
def test_impossible_masses_are_refused(stated, sentence):
    with pytest.raises(UserError, match=sentence):
        with_masses(molecule("H2O"), [stated])


def test_what_cannot_be_held_is_refused():
    water = molecule("H2O")
    with pytest.raises(UserError, match="give one of them"):
        hold(water, [0], [1])
    with pytest.raises(UserError, match="--active names atom 3, and the atoms of OH2 are 0 to 2"):
        hold(water, [3], None)
    water.set_constraint(FixAtoms([0]))
    with pytest.raises(UserError, match="atom 0 of --active is held by the structure's own constraints"):
        hold(water, [0], None)
    with pytest.raises(UserError, match="nothing vibrates; let some move"):
        vibrations("shipped:grown", hold(water, None, [1, 2]))


def test_a_structure_that_is_not_stationary_is_refused(surface):
    stretched = molecule("H2O")
    stretched.positions[1] *= 1.1
    with pytest.raises(UserError, match=r"largest force is \d.* eV/Å.*; leave --no-relax out.*--saddle"):
        vibrations(surface, stretched, goal="as it is")


def test_the_command_writes_what_it_says(tmp_path, monkeypatch, capsys):
    start, page = tmp_path / "start.xyz", tmp_path / "page.html"
    bent_hcn().write(start)
    files = [f"--{kind}={tmp_path / kind}" for kind in ("json", "xyz", "molden", "relaxed")]
    words = [str(start), "--saddle", "--mass", "H=2.014", "--scale", "0.96", f"--html={page}", *files]
    monkeypatch.setattr("sys.argv", ["hesspot", "vibrations", "shipped:grown", *words])
    with pytest.raises(SystemExit, match="0"):
        main()
    told = json.loads((tmp_path / "json").read_text())
    frequencies = [mode["frequency"] for mode in told["modes"]]
    assert len(frequencies) == 3 and frequencies[0] < 0 and told["masses"][2] == 2.014
    out = capsys.readouterr().out
    for text in (out, page.read_text()):
        for part in ("saddle point", "times 0.96", "H2 2.014", "Wigner", *(f"{abs(each):.1f}" for each in frequencies)):
            assert part in text
    assert not re.search(r"(src|href)=.?http", page.read_text())
    assert ase.io.read(tmp_path / "relaxed").get_masses()[2] == 2.014
    with pytest.raises(SystemExit, match="1"):
        main()
    assert "exists already; pass --overwrite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--active", "0-x"], "--active 0-x: '0-x' names no atoms; write their numbers from 0 on, as in 0-5,8"),
        (["--saddle", "--no-relax"], "give one of them"),
        (["--scale", "0"], "give a factor near 1"),
        (["--json", "same", "--xyz", "same"], "give each its own name"),
        (["--no-relax"], "is no stationary point of this model"),
    ],
)
def test_bad_calls_get_one_sentence(words, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    bent_hcn().write("start.xyz")
    monkeypatch.setattr("sys.argv", ["hesspot", "vibrations", "shipped:grown", "start.xyz", *words])
    with pytest.raises(SystemExit, match="1"):
        main()
    assert sentence in capsys.readouterr().err


def test_an_element_that_the_model_lacks_is_refused():
    with pytest.raises(UserError, match="element S"):
        vibrations("shipped:grown", molecule("SH2"))
