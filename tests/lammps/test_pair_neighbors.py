"""What takes neighbours of a model's atoms out of LAMMPS's lists ends the run, with a remedy that gives the right
energy; what concerns other atoms only is left alone."""

import re
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from lammps_runs import ENERGY_TOLERANCE, expected, hesspot_pair, run_failing, run_succeeding

from hesspot.lammps.run import error_of

pytestmark = pytest.mark.lammps

ELEMENTS = ["O", "C", "N", "H"]

#: LAMMPS's own energies of two calculations that differ in factors of 1e-50.
SAME = 1e-12

HEAD = """units metal
atom_style full
bond_style zero
angle_style zero
special_bonds SPECIAL
read_data bonded.data
bond_coeff *
angle_coeff *
"""


def waters(n: int = 3) -> Atoms:
    atoms = Atoms()
    for k in range(n):
        one = molecule("H2O")
        one.rotate(40 * k, (1, 2, 3))
        one.translate([2.0 + 3.1 * k, 2.0 + 0.2 * k, 2.0])
        atoms += one
    atoms.set_cell([12.0, 9.0, 8.0])
    atoms.pbc = True
    return atoms


def write_bonded(path: Path, atoms: Atoms, mm: int = 0, bonds: bool = True) -> None:
    """Molecules of water, the last `mm` of them of the types 5 and 6, with charges."""
    n = len(atoms) // 3
    lines = ["water", "", f"{len(atoms)} atoms", "6 atom types"]
    if bonds:
        lines += [f"{2 * n} bonds", f"{n} angles"]
    lines += ["1 bond types", "1 angle types", "4 extra bond per atom", "9 extra special per atom"]
    lines += [f"0 {atoms.cell[k, k]} {name}lo {name}hi" for k, name in enumerate("xyz")]
    lines += ["", "Masses", "", "1 15.999", "2 12.011", "3 14.007", "4 1.008", "5 15.999", "6 1.008"]
    lines += ["", "Atoms # full", ""]
    for k, (symbol, place) in enumerate(zip(atoms.symbols, atoms.positions.tolist(), strict=True)):
        is_mm = k // 3 >= n - mm
        type_ = {"O": 5 if is_mm else 1, "H": 6 if is_mm else 4}[symbol]
        charge = {5: -0.82, 6: 0.41}.get(type_, 0.0)
        lines.append(f"{k + 1} {k // 3 + 1} {type_} {charge} {place[0]!r} {place[1]!r} {place[2]!r}")
    if bonds:
        lines += ["", "Bonds", ""]
        lines += [f"{k + 1} 1 {3 * (k // 2) + 1} {3 * (k // 2) + 2 + k % 2}" for k in range(2 * n)]
        lines += ["", "Angles", "", *(f"{k + 1} 1 {3 * k + 2} {3 * k + 1} {3 * k + 3}" for k in range(n))]
    path.write_text("\n".join(lines) + "\n")


def pair_of(model: Path) -> str:
    return hesspot_pair(model, [*ELEMENTS, "NULL", "NULL"])


END = """thermo_style custom step pe
run 0 post no
print "energy $(pe:%.17g)"
"""


def energies(output: str, word: str = "energy") -> list[float]:
    return [float(line.split()[1]) for line in output.splitlines() if line.startswith(f"{word} ")]


def remedy_of(message: str) -> str:
    found = re.search("use `(special_bonds [^`]*)`", message)
    assert found, message
    return found[1]


@pytest.mark.parametrize(
    ("special", "commands", "remedy"),
    [
        ("lj/coul 0 0 0", "", "special_bonds lj 1e-50 1e-50 1e-50 coul 1e-50 1e-50 1e-50"),
        ("lj/coul 0 1 1", "", "special_bonds lj 1e-50 1 1 coul 1e-50 1 1"),
        ("lj 1 0 0.5 coul 1 0 0.25 angle yes", "", "special_bonds lj 1 1e-50 0.5 coul 1 1e-50 0.25 angle yes"),
        ("lj/coul 0 0 0", "delete_bonds all multi remove", "special_bonds lj 1e-50 1e-50 1e-50 coul 1e-50 1e-50 1e-50"),
    ],
)
def test_bonded_neighbours(tmp_path: Path, house_model_file: Path, special: str, commands: str, remedy: str) -> None:
    atoms = waters()
    write_bonded(tmp_path / "bonded.data", atoms)
    script = f"{HEAD.replace('SPECIAL', special)}{commands}\n{pair_of(house_model_file)}\n"
    output = run_failing(tmp_path, script + END)
    message = error_of(output)
    assert output.count("ERROR") == 1 and "is missing among the neighbors of atom" in message
    assert remedy_of(message) == remedy
    found = energies(run_succeeding(tmp_path, f"{script}{remedy}\n{END}", 2))
    right = expected(house_model_file, atoms).energy[0]
    np.testing.assert_allclose(found, right, atol=ENERGY_TOLERANCE, rtol=0)


@pytest.mark.parametrize(
    "fix", ["fix grow all bond/create 1 1 4 1.2 1", "fix grow all deposit 1 0 1 7 region box near 1.0 mol water"]
)
def test_bonds_that_come_during_a_run(tmp_path: Path, house_model_file: Path, fix: str) -> None:
    """They are noticed as soon as the list is built; with the remedy energies are those of the last structure."""
    atoms = waters()
    write_bonded(tmp_path / "bonded.data", atoms, bonds=False)
    (tmp_path / "water.mol").write_text(
        "water\n\n3 atoms\n2 bonds\n\nCoords\n\n1 0 0 0\n2 0.586 0.757 0\n3 0.586 -0.757 0\n\n"
        "Types\n\n1 1\n2 4\n3 4\n\n"
        "Charges\n\n1 0\n2 0\n3 0\n\nBonds\n\n1 1 1 2\n2 1 1 3\n"
    )
    head = HEAD.replace("angle_coeff *", "angle_coeff 1").replace("SPECIAL", "lj/coul 0 0 0")
    script = f"""{head}molecule water water.mol
region box block 0 12 0 9 5 8
{pair_of(house_model_file)}
timestep 0.0001
fix 1 all nve
{fix}
"""
    run = (
        'run 3 post no\nprint "energy $(pe:%.17g)"\nwrite_dump all custom end.dump type x y z modify format float %.17g'
    )
    message = error_of(run_failing(tmp_path, script + run))
    assert "step 1: " in message
    (found,) = energies(run_succeeding(tmp_path, f"{script}{remedy_of(message)}\n{run}", 2))
    rows = np.loadtxt(tmp_path / "end.dump", skiprows=9)
    symbols = [ELEMENTS[int(type_) - 1] for type_ in rows[:, 0]]
    assert len(rows) == len(atoms) + (3 if "deposit" in fix else 0)
    end = Atoms(symbols, positions=rows[:, 1:], cell=atoms.cell, pbc=True)
    np.testing.assert_allclose(found, expected(house_model_file, end).energy[0], atol=ENERGY_TOLERANCE, rtol=0)


MM = """pair_style hybrid/overlay STYLE
pair_coeff * * hesspot "MODEL" O C N H NULL NULL
pair_coeff * * lj/cut/coul/cut 0.0 1.0
pair_coeff 5 5 lj/cut/coul/cut 0.0067 3.166
"""
PARTS = """compute ml all pair hesspot epair
compute mm all pair MM epair
thermo_style custom step pe c_ml c_mm
run 0 post no
print "ml $(c_ml:%.17g)"
print "mm $(c_mm:%.17g)"
"""


@pytest.mark.parametrize("long", [False, True])
def test_bonded_molecules_of_others_beside_the_model(tmp_path: Path, house_model_file: Path, long: bool) -> None:
    """Bonded atoms that are NULL for the model are not its business. Where its own are bonded, too, the remedy keeps
    the energies of the others."""
    atoms = waters(4)
    atoms.set_cell([14.0, 9.0, 8.0])
    write_bonded(tmp_path / "bonded.data", atoms, mm=2)
    style = "lj/cut/coul/long" if long else "lj/cut/coul/cut"
    alone = f"pair_style {style} 3.5\npair_coeff * * 0.0 1.0\npair_coeff 5 5 0.0067 3.166\n"
    alone += "kspace_style ewald 1e-6\n" if long else ""
    both = MM.replace("STYLE", f"hesspot {style} 3.5").replace("MODEL", str(house_model_file))
    both = both.replace("lj/cut/coul/cut", style) + ("kspace_style ewald 1e-6\n" if long else "")
    parts = PARTS.replace("MM", style)
    head = HEAD.replace("SPECIAL", "lj/coul 0 0 0.5")
    (mm,) = energies(
        run_succeeding(tmp_path, head + alone + parts.replace("compute ml", "#").replace("c_ml", "c_mm")), "mm"
    )
    ml = expected(house_model_file, atoms[:6]).energy[0]

    def check(output: str) -> None:
        np.testing.assert_allclose(energies(output, "ml"), ml, atol=ENERGY_TOLERANCE, rtol=0)
        np.testing.assert_allclose(energies(output, "mm"), mm, atol=SAME, rtol=0)

    assert abs(mm) > 0.01
    unbonded = "group ml type 1 4\ndelete_bonds ml multi remove special\n"
    check(run_succeeding(tmp_path, head + unbonded + both + parts, 2))
    if long:
        check(run_succeeding(tmp_path, head + both + parts, 2))  # a kspace style keeps bonded pairs in the list
        return
    message = error_of(run_failing(tmp_path, head + both + parts))
    check(run_succeeding(tmp_path, f"{head}{both}{remedy_of(message)}\n{parts}", 2))


NO_BONDS = HEAD.replace("SPECIAL", "lj/coul 1 1 1")
OVERRIDE = """pair_style hybrid hesspot lj/cut 5.0
pair_coeff * * lj/cut 0.0 1.0
pair_coeff * * hesspot "MODEL" O C N H NULL NULL
"""


@pytest.mark.parametrize(
    ("commands", "words"),
    [
        ("PAIR\nneigh_modify exclude type 1 4", "neigh_modify exclude removes this pair"),
        ("PAIR\ngroup a id 1\ngroup b id 5 6\nneigh_modify exclude group a b", "atom 1 is missing|atom 1, because"),
        ("PAIR\ngroup a molecule 1\nneigh_modify exclude group a a", "neigh_modify exclude removes this pair"),
        ("PAIR\nneigh_modify exclude molecule/intra all", "use neigh_modify exclude none, and fix setforce 0 0 0"),
        (
            OVERRIDE + "pair_coeff 1 4 lj/cut 0.0 1.0",
            "gives pairs of atom types (1 and 4|4 and 1) to other styles only",
        ),
        (
            "PAIR\nspecial_bonds lj/coul 0 0 0\npair_modify compute no\ncompute h all hesspot/hvp v_one v_one v_one\n"
            "variable one atom id\nthermo_style custom c_h",
            "use `special_bonds",
        ),
    ],
)
def test_pairs_that_are_taken_away(tmp_path: Path, house_model_file: Path, commands: str, words: str) -> None:
    write_bonded(tmp_path / "bonded.data", waters(2))
    commands = commands.replace("PAIR", pair_of(house_model_file)).replace("MODEL", str(house_model_file))
    message = error_of(run_failing(tmp_path, f"{NO_BONDS}{commands}\nrun 0"))
    assert "step 0: atom " in message and re.search(words, message), message


@pytest.mark.parametrize(
    ("commands", "apart"),
    [
        ("PAIR\nneigh_modify exclude type 5 6\nneigh_modify exclude type 1 5", False),
        ("PAIR\ngroup a id 1\ngroup b id 16\nneigh_modify exclude group a b", False),  # out of reach of each other
        (OVERRIDE.replace("hybrid", "hybrid/overlay") + "pair_coeff 1 4 lj/cut 0.0 1.0", False),
        ("PAIR\nneigh_modify exclude molecule/inter all", True),
    ],
)
def test_pairs_that_are_not_missed(tmp_path: Path, house_model_file: Path, commands: str, apart: bool) -> None:
    atoms = waters(6)
    atoms.set_cell([22.0, 9.0, 8.0])
    write_bonded(tmp_path / "bonded.data", atoms)
    commands = commands.replace("PAIR", pair_of(house_model_file)).replace("MODEL", str(house_model_file))
    output = run_succeeding(tmp_path, f"{NO_BONDS}{commands}\n{END}", 2)
    parts = [atoms[3 * k : 3 * k + 3] for k in range(6)] if apart else [atoms]
    right = sum(float(expected(house_model_file, part).energy[0]) for part in parts)
    np.testing.assert_allclose(energies(output), right, atol=ENERGY_TOLERANCE, rtol=0)
    assert ("molecules do not see each other" in output) == apart


def test_molecules_from_a_template(tmp_path: Path, house_model_file: Path) -> None:
    (tmp_path / "pair.mol").write_text(
        "pair\n\n2 atoms\n1 bonds\n\nCoords\n\n1 0 0 0\n2 0 0 1\n\nTypes\n\n1 1\n2 4\n\nBonds\n\n1 1 1 2\n"
        "\nSpecial Bond Counts\n\n1 1 0 0\n2 1 0 0\n\nSpecial Bonds\n\n1 2\n2 1\n"
    )
    script = f"""units metal
molecule pair pair.mol
atom_style template pair
region box block 0 9 0 9 0 9
create_box 6 box bond/types 1
mass 1 15.999
mass 2*6 1.008
create_atoms 0 single 4 4 4 mol pair 7
bond_style zero
bond_coeff *
{pair_of(house_model_file)}
"""
    message = error_of(run_failing(tmp_path, script + END))
    output = run_succeeding(tmp_path, f"{script}{remedy_of(message)}\n{END}", 2)
    right = expected(house_model_file, Atoms("OH", positions=[[0, 0, 0], [0, 0, 1]]))
    np.testing.assert_allclose(energies(output), right.energy[0], atol=ENERGY_TOLERANCE, rtol=0)
