"""compute hesspot/hvp against the model's own analytic Hessian in Python."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from lammps_runs import hesspot_pair, run_failing, run_succeeding, scatter_ids
from structures import corner_molecule, isolated_atoms, small_triclinic, water_crystal, wire

from hesspot.contract import build_batch
from hesspot.derivatives import hessian
from hesspot.export import read_model
from hesspot.export.file import eager_model
from hesspot.lammps.structure import boundary, write_data
from hesspot.units import BOHR, HARTREE, KCAL_PER_MOL

pytestmark = pytest.mark.lammps

ELEMENTS = ["O", "C", "N", "H"]  # not the model's order

#: Rounding of sums in another order, for second derivatives of up to 1e3 eV/Å² and directions of some Å.
ROUNDING = 1e-9

#: eV/Å² in LAMMPS's unit of energy per square of its unit of length.
CURVATURE = {"metal": 1.0, "real": 1.0 / KCAL_PER_MOL, "electron": BOHR**2 / HARTREE}

FROM_VARIABLES = "compute hvp all hesspot/hvp v_a v_b v_c"


def turned_hessian(model: Path, atoms: Atoms, rotation: np.ndarray) -> np.ndarray:
    """The Hessian (3n, 3n) in LAMMPS's axes, eV/Å²."""
    loaded = eager_model(read_model(model))
    matrix = hessian(loaded, build_batch([atoms], loaded.elements, loaded.cutoff))[0].numpy()
    turn = np.kron(np.eye(len(atoms)), rotation)
    return np.asarray(turn.T @ matrix @ turn)


class Calculations:
    """Products that one run of LAMMPS shall give, and what they must be."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder, self.model = folder, model
        self.script = ""
        self.expected: list[tuple[np.ndarray, float]] = []

    def add(
        self, atoms: Atoms, commands: str, *, pair: str = "", matrix: np.ndarray | None = None, units: str = "metal"
    ) -> None:
        """`commands` define compute hvp, with the direction of the variables a, b, c (sin id, cos 3 id, …).

        matrix: the Hessian (3n, 3n) that it must have used, instead of the one of all atoms.
        """
        number = len(self.expected)
        data = self.folder / f"{number}.data"
        scaled = atoms.copy()
        if units == "electron":
            scaled.set_cell(atoms.cell / BOHR, scale_atoms=True)
        rotation = write_data(data, scaled, ELEMENTS)
        ids = np.arange(1, len(atoms) + 1)
        u = np.stack([np.sin(ids), np.cos(3 * ids), 0.3 * np.sin(ids + 2)], 1).ravel()
        matrix = turned_hessian(self.model, atoms, rotation) if matrix is None else matrix
        product = CURVATURE[units] * matrix @ u
        used = u * (matrix != 0).any(1)
        self.expected.append((product.reshape(-1, 3), used @ product / (used @ used)))
        self.script += f"""clear
units {units}
atom_style atomic
boundary {boundary(atoms)}
fix direction all property/atom d2_u 3 d_w writedata no
read_data {number}.data
{pair or hesspot_pair(self.model, ELEMENTS)}
variable a atom sin(id)
variable b atom cos(3*id)
variable c atom 0.3*sin(id+2)
{commands}
thermo_style custom step c_hvp
run 0 post no
write_dump all custom {number}.dump id c_hvp[*] modify sort id format float %.17g
print '$(c_hvp:%.17g)' file {number}.scalar screen no
"""

    def check(self, ranks: int) -> None:
        run_succeeding(self.folder, self.script, ranks)
        for number, (product, scalar) in enumerate(self.expected):
            rows = np.loadtxt(self.folder / f"{number}.dump", skiprows=9, ndmin=2)
            np.testing.assert_allclose(rows[:, 1:], product, atol=ROUNDING, rtol=0, err_msg=str(number))
            told = float((self.folder / f"{number}.scalar").read_text())
            np.testing.assert_allclose(told, scalar, atol=ROUNDING, rtol=0, err_msg=str(number))


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_products_are_those_of_the_hessian(tmp_path: Path, house_model_file: Path, ranks: int) -> None:
    calculations = Calculations(tmp_path, house_model_file)
    for structure in (water_crystal, small_triclinic, wire, corner_molecule):
        calculations.add(structure(), FROM_VARIABLES)
    calculations.add(water_crystal(), FROM_VARIABLES, pair=hesspot_pair(house_model_file, ELEMENTS, "max_edges 100"))
    calculations.check(ranks)


def test_torchscript_gives_the_same(tmp_path: Path, house_model_file: Path) -> None:
    calculations = Calculations(tmp_path, house_model_file)
    pair = hesspot_pair(house_model_file, ELEMENTS, "backend torchscript")
    calculations.add(water_crystal(), FROM_VARIABLES, pair=pair)
    calculations.check(1)


def test_every_source_of_a_direction(tmp_path: Path, house_model_file: Path) -> None:
    calculations = Calculations(tmp_path, house_model_file)
    velocity = "velocity all set v_a v_b v_c"
    copy = f"{velocity}\ncompute copy all property/atom vx vy vz"
    for source, setting in [
        ("v", velocity),
        ("d2_u", "set group all d2_u[1] v_a d2_u[2] v_b d2_u[3] v_c"),
        ("d2_u[1] d_w v_c", "set group all d2_u[1] v_a d_w v_b"),
        ("c_copy", copy),
        ("c_copy[1] c_copy[2] c_copy[3]", copy),
        ("f_copy", f"{velocity}\nfix copy all store/state 0 vx vy vz"),
    ]:
        calculations.add(water_crystal(), f"run 0 post no\n{setting}\ncompute hvp all hesspot/hvp {source}")
    calculations.check(2)


def test_a_group_has_its_own_block_of_the_hessian(tmp_path: Path, house_model_file: Path) -> None:
    calculations = Calculations(tmp_path, house_model_file)
    atoms = water_crystal()
    inside = np.repeat(np.arange(len(atoms)) % 2 == 1, 3)
    matrix = turned_hessian(house_model_file, atoms, np.eye(3)) * np.outer(inside, inside)
    calculations.add(atoms, "group some id 2:100:2\ncompute hvp some hesspot/hvp v_a v_b v_c", matrix=matrix)
    calculations.check(2)


@pytest.mark.parametrize("ranks", [2])
def test_units(tmp_path: Path, house_model_file: Path, ranks: int) -> None:
    calculations = Calculations(tmp_path, house_model_file)
    for units in ("real", "electron"):
        calculations.add(water_crystal(), FROM_VARIABLES, units=units)
    calculations.check(ranks)


def test_two_models_in_hybrid_add_up(tmp_path: Path, house_model_file: Path) -> None:
    atoms = water_crystal()
    pair = f"""pair_style hybrid hesspot hesspot zero 5.0
pair_coeff * * hesspot 1 "{house_model_file}" O C N NULL
pair_coeff * * hesspot 2 "{house_model_file}" NULL NULL NULL H
pair_coeff 1*3 4 zero"""
    symbols = np.array(atoms.get_chemical_symbols())
    matrix = np.zeros((3 * len(atoms), 3 * len(atoms)))
    for element in "OH":
        mine = np.repeat(symbols == element, 3)
        matrix[np.ix_(mine, mine)] = turned_hessian(house_model_file, atoms[symbols == element], np.eye(3))
    calculations = Calculations(tmp_path, house_model_file)
    calculations.add(atoms, FROM_VARIABLES, pair=pair, matrix=matrix)
    calculations.check(2)


def test_against_differences_of_forces_along_the_velocity(tmp_path: Path, house_model_file: Path) -> None:
    """H·v is the change of the forces as atoms move along v, by LAMMPS's own integrator of positions."""
    step = 1e-5
    rotation = write_data(tmp_path / "w.data", water_crystal(), ELEMENTS)
    assert np.array_equal(rotation, np.eye(3))
    scatter_ids(tmp_path / "w.data")
    script = f"""units metal
atom_style atomic
read_data w.data
{hesspot_pair(house_model_file, ELEMENTS)}
variable a atom sin(id)
velocity all set v_a v_a v_a
compute hvp all hesspot/hvp v
run 0 post no
write_dump all custom hvp.dump id c_hvp[*] modify sort id format float %.17g
"""
    for name, factor in (("plus", step), ("minus", -2 * step)):
        script += f"""variable d atom {factor}*vx
displace_atoms all move v_d v_d v_d units box
run 0 post no
write_dump all custom {name}.dump id fx fy fz modify sort id format float %.17g
"""
    run_succeeding(tmp_path, script, 2)
    rows = {name: np.loadtxt(tmp_path / f"{name}.dump", skiprows=9)[:, 1:] for name in ("hvp", "plus", "minus")}
    differences = -(rows["plus"] - rows["minus"]) / (2 * step)
    # central differences: third derivatives of forces of up to 1e5 eV/Å⁴ times the step squared
    np.testing.assert_allclose(rows["hvp"], differences, atol=1e-5, rtol=1e-6)


def test_what_is_left_out_is_told(tmp_path: Path, house_model_file: Path) -> None:
    write_data(tmp_path / "0.data", isolated_atoms(), ELEMENTS)
    output = run_succeeding(
        tmp_path,
        f"""units metal
atom_style atomic
boundary f f f
read_data 0.data
{hesspot_pair(house_model_file, ELEMENTS)}
velocity all create 300 1
fix tether all spring/self 1.0
compute hvp all hesspot/hvp v
thermo_style custom step c_hvp
run 0
unfix tether
run 0
""",
        2,
    )
    warning = "compute hvp of style hesspot/hvp: the curvature is that of pair_style hesspot alone, without"
    assert output.count(warning) == 1 and f"{warning} fix tether (spring/self)" in output


@pytest.mark.parametrize(
    "line, message",
    [
        ("compute hvp all hesspot/hvp", "write one direction"),
        ("compute hvp all hesspot/hvp q", "direction q is not known"),
        ("compute hvp all hesspot/hvp v_a v_b d_w[2]", "component d_w"),
        ("compute hvp all hesspot/hvp v_a v_b c_x[99999999999999999999]", "has no column number from 1 on"),
        ("compute hvp all hesspot/hvp v_a v_b c_x[2", "has no column number from 1 on"),
        ("compute hvp all hesspot/hvp c_hvp", "its direction depends on its own product"),
        ("variable n atom 1/(id-id)\ncompute hvp all hesspot/hvp v_a v_b v_n", "Divide by 0 in variable"),
        (
            "velocity all set 1e308 0 0\nvariable i atom vx*1e10\ncompute hvp all hesspot/hvp v_a v_b v_i",
            "not a finite",
        ),
        ("compute hvp all hesspot/hvp d2_none", "no per-atom array d2_none"),
        ("compute hvp all hesspot/hvp c_none", "no per-atom compute none"),
        ("compute hvp all hesspot/hvp v", "direction is zero"),
        ("pair_style zero 5.0\npair_coeff * *\ncompute hvp all hesspot/hvp v", "no pair_style hesspot"),
    ],
)
def test_bad_input_ends_the_run_in_words(tmp_path: Path, house_model_file: Path, line: str, message: str) -> None:
    write_data(tmp_path / "0.data", isolated_atoms(), ELEMENTS)
    script = f"""units metal
atom_style atomic
boundary f f f
read_data 0.data
{hesspot_pair(house_model_file, ELEMENTS)}
variable a atom sin(id)
variable b atom sin(id)
{line}
thermo_style custom step c_hvp
run 0
"""
    assert message in run_failing(tmp_path, script, ranks=1)
