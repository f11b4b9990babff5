"""compute hesspot/deviation against the members of the trained committee in Python."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from lammps_runs import (
    Case,
    assert_same,
    expected,
    hesspot_pair,
    run_failing,
    run_succeeding,
    scatter_ids,
    single_points,
)
from structures import corner_molecule, isolated_atoms, small_triclinic, water_crystal

from hesspot.contract import build_batch
from hesspot.derivatives import scatter_to_atoms
from hesspot.export import read_model
from hesspot.export.file import eager_model
from hesspot.lammps.run import error_of
from hesspot.lammps.structure import boundary, write_data
from hesspot.units import KCAL_PER_MOL

pytestmark = pytest.mark.lammps

ELEMENTS = ["O", "C", "N", "H"]  # not the model's order

#: eV/Å and eV: rounding of float64 sums in another order.
ROUNDING = 1e-9

#: float32 has 6e-8 of forces and energies of the networks of up to some 10 eV, which are sums of about 100 terms.
SINGLE = 1e-3

#: eV/Å: what the members of the random committee differ by, at least.
SIGNAL = 0.1


OVERLAY = """pair_style hybrid/overlay hesspot zero 5.0
pair_coeff * * hesspot "{}" {}
pair_coeff * * zero"""

TWICE = """pair_style {} hesspot {} hesspot
pair_coeff * * hesspot 1 "{}" O C N H
pair_coeff * * hesspot 2 "{}" O C N H"""


@dataclass(frozen=True)
class Deviation:
    """forces (n,) eV/Å and energies (n,) eV of the atoms; total: largest force, mean force, energy per atom."""

    forces: np.ndarray
    energies: np.ndarray
    total: np.ndarray


def deviation(model: Path, atoms: Atoms, counted: np.ndarray | None = None) -> Deviation:
    """By the definition, from the eager model. counted (n,): the atoms of the group."""
    committee = eager_model(read_model(model))
    batch = build_batch([atoms], committee.elements, committee.cutoff)
    vectors = batch.vectors.clone().requires_grad_(True)
    energies = committee.members(batch.species, batch.centers, batch.neighbors, vectors)
    forces = np.stack(
        [
            -scatter_to_atoms(torch.autograd.grad(one.sum(), vectors, retain_graph=True)[0], batch).numpy()
            for one in energies
        ]
        if batch.n_edges
        else [np.zeros((batch.n_atoms, 3))]
    )
    counted = np.ones(len(atoms), dtype=bool) if counted is None else counted
    of_forces = np.sqrt(((forces - forces.mean(0)) ** 2).sum(2).mean(0)) * counted
    table = energies.detach().numpy()
    of_energies = table.std(0) * counted
    per_atom = table[:, counted].sum(1).std() / counted.sum()
    return Deviation(of_forces, of_energies, np.array([of_forces.max(), of_forces.sum() / counted.sum(), per_atom]))


class Calculations:
    """Deviations that one run of LAMMPS shall give, and what they must be."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder, self.model = folder, model
        self.script = ""
        self.expected: list[tuple[Deviation, float, float]] = []

    def add(
        self,
        atoms: Atoms,
        options: str = "",
        tolerance: float = ROUNDING,
        units: str = "metal",
        odd: bool = False,
        pair: str = "",
    ) -> None:
        number = len(self.expected)
        data = self.folder / f"{number}.data"
        write_data(data, atoms, ELEMENTS)
        group = "all"
        if odd:
            group = "odd"
        else:
            scatter_ids(data)
        scale = KCAL_PER_MOL if units == "real" else 1.0
        counted = np.arange(1, len(atoms) + 1) % 2 == 1 if odd else None
        self.expected.append((deviation(self.model, atoms, counted), scale, tolerance))
        self.script += f"""clear
units {units}
atom_style atomic
boundary {boundary(atoms)}
read_data {number}.data
{pair or hesspot_pair(self.model, ELEMENTS, options)}
group odd id 1:1000:2
compute doubt {group} hesspot/deviation
thermo_style custom step c_doubt[*]
run 0 post no
write_dump all custom {number}.dump id c_doubt[*] modify sort id format float %.17g
print '$(c_doubt[1]:%.17g) $(c_doubt[2]:%.17g) $(c_doubt[3]:%.17g)' file {number}.total screen no
"""

    def check(self, ranks: int) -> None:
        run_succeeding(self.folder, self.script, ranks)
        for number, (answer, scale, tolerance) in enumerate(self.expected):
            rows = scale * np.loadtxt(self.folder / f"{number}.dump", skiprows=9, ndmin=2)
            rows = rows if "odd" in self.script.split("clear\n")[number + 1].split("compute")[1] else rows[::-1]
            told = scale * np.loadtxt(self.folder / f"{number}.total")
            where = f"case {number} on {ranks} ranks"
            np.testing.assert_allclose(rows[:, 1], answer.forces, atol=tolerance, rtol=0, err_msg=where)
            np.testing.assert_allclose(rows[:, 2], answer.energies, atol=tolerance, rtol=0, err_msg=where)
            np.testing.assert_allclose(told, answer.total, atol=tolerance, rtol=0, err_msg=where)


@pytest.mark.parametrize(("ranks", "file"), [(1, "committee_file"), (2, "mean_file"), (4, "committee_file")])
def test_deviations_are_those_of_the_members(
    tmp_path: Path, request: pytest.FixtureRequest, ranks: int, file: str
) -> None:
    """Small boxes with many images, ranks without atoms, atoms without neighbours, portions, both backends."""
    committee_file = request.getfixturevalue(file)
    calculations = Calculations(tmp_path, committee_file)
    for structure in (water_crystal, small_triclinic, corner_molecule, isolated_atoms):
        calculations.add(structure())
    assert calculations.expected[0][0].forces.min() > SIGNAL and calculations.expected[0][0].energies.min() > SIGNAL
    calculations.add(water_crystal(), "backend torchscript max_edges 300")
    calculations.add(water_crystal(), "precision single", SINGLE)
    calculations.add(water_crystal(), units="real")
    calculations.add(water_crystal(), odd=True)
    calculations.add(water_crystal(), pair=OVERLAY.format(committee_file, " ".join(ELEMENTS)))
    calculations.check(ranks)


@pytest.mark.parametrize(("ranks", "file"), [(1, "committee_file"), (4, "mean_file")])
def test_the_mean_is_the_potential(tmp_path: Path, request: pytest.FixtureRequest, ranks: int, file: str) -> None:
    committee_file = request.getfixturevalue(file)
    cases = [
        Case(atoms, ELEMENTS, hesspot_pair(committee_file, ELEMENTS, f"verify yes backend {backend} max_edges 700"))
        for atoms in (water_crystal(), small_triclinic(), corner_molecule())
        for backend in ("kernel", "torchscript")
    ]
    for case, point in zip(cases, single_points(tmp_path, cases, ranks), strict=True):
        assert_same(point, case.atoms, expected(committee_file, case.atoms))


def test_fix_halt_dump_and_steps_without_it(tmp_path: Path, committee_file: Path) -> None:
    """A run stops at the step at which the deviation passes a threshold; the compute changes nothing else."""
    write_data(tmp_path / "start.data", water_crystal(), ELEMENTS)
    script = f"""units metal
read_data start.data
{hesspot_pair(committee_file, ELEMENTS)}
velocity all create 300 3
fix 1 all nve
timestep 0.0005
compute doubt all hesspot/deviation
variable worst equal c_doubt[1]
thermo_style custom step pe c_doubt[1]
thermo_modify format float %.17g
thermo 2
"""
    dump = "dump 1 all custom 4 doubt.dump id c_doubt[1]\ndump_modify 1 sort id format float %.17g\n"
    free = table(run_succeeding(tmp_path, f"{script}{dump}run 12\n", 2))
    dumped = [
        np.loadtxt(block.splitlines()[8:])
        for block in (tmp_path / "doubt.dump").read_text().split("ITEM: TIMESTEP\n")[1:]
    ]
    np.testing.assert_allclose([rows[:, 1].max() for rows in dumped], free[::2, 2], rtol=1e-12)
    passing = int(np.argmax(free[:, 2] > free[0, 2]))
    assert passing > 0, free[:, 2]
    threshold = float(free[0, 2] + free[passing, 2]) / 2
    halted = table(
        run_succeeding(tmp_path, f"{script}fix stop all halt 2 v_worst > {threshold!r} error soft\nrun 12\n", 2)
    )
    assert halted[-1, 0] == free[passing, 0]
    np.testing.assert_allclose(halted, free[: len(halted)], rtol=1e-12)


def table(output: str) -> np.ndarray:
    """The rows of the thermodynamic table."""
    lines = output.split("c_doubt[1]")[-1].split("Loop time")[0].splitlines()
    return np.array([line.split() for line in lines if line.strip()[:1].isdigit()], dtype=float)


@pytest.mark.parametrize(
    ("commands", "words"),
    [
        ("PAIR\ncompute d all hesspot/deviation 3", "it has no arguments"),
        ("PLAIN\ncompute d all hesspot/deviation", "is no committee, so there are no members to compare"),
        ("pair_style zero 5.0\npair_coeff * *\ncompute d all hesspot/deviation", "there is no pair_style hesspot"),
        ("TWO\ncompute d all hesspot/deviation", "there are several committees"),
        ("SCALED\ncompute d all hesspot/deviation", "the scale factors of pair_style hybrid/scaled are not known"),
    ],
)
def test_refusals(tmp_path: Path, house_model_file: Path, committee_file: Path, commands: str, words: str) -> None:
    write_data(tmp_path / "start.data", water_crystal(), ELEMENTS)
    commands = commands.replace("PAIR", hesspot_pair(committee_file, ELEMENTS))
    commands = commands.replace("PLAIN", hesspot_pair(house_model_file, ELEMENTS))
    commands = commands.replace("TWO", TWICE.format("hybrid/overlay", "", committee_file, committee_file))
    commands = commands.replace("SCALED", TWICE.format("hybrid/scaled 0.5", "0.5", committee_file, committee_file))
    output = run_failing(
        tmp_path, f"units metal\nread_data start.data\n{commands}\nthermo_style custom step c_d[1]\nrun 0\n"
    )
    assert words in error_of(output) and output.count("ERROR") == 1, output
