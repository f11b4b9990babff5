"""The pair style gives the model's own numbers however the atoms are divided among ranks, in every backend.

Ranks, grids of ranks, bricks and tiles, skins, boundaries, boxes, backends and precisions are multiplied with each
other. All cases of one number of ranks run in one LAMMPS process.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from lammps_runs import Case, Point, assert_same, expected, hesspot_pair, single_points
from structures import (
    corner_molecule,
    isolated_atoms,
    layers,
    small_triclinic,
    triclinic_crystal,
    water_crystal,
    wire,
)

from hesspot.derivatives import Evaluation

pytestmark = pytest.mark.lammps

ELEMENTS = ["O", "C", "N", "H"]  # not the model's order

#: float32 has 6e-8; energies of some eV per atom and forces of some eV/Å are sums of about 100 edges.
SINGLE_ENERGY = 2e-4  # eV per atom
SINGLE_FORCE = 1e-3  # eV/Å

GRIDS = {1: ["1 1 1"], 2: ["2 1 1", "1 1 2"], 4: ["1 1 4", "2 2 1"]}

#: LAMMPS refuses tiles where images of one rank's atoms are needed from further away than the box is long.
SMALL_BOXES = (small_triclinic, wire)


@dataclass(frozen=True)
class Division:
    """How the box is divided among the ranks."""

    name: str
    before: str
    after: str = ""


def divisions(ranks: int, structure: Callable[[], Atoms]) -> Iterator[Division]:
    for grid in GRIDS[ranks]:
        yield Division(grid, f"processors {grid}")
    if structure not in SMALL_BOXES:
        yield Division("tiles", "comm_style tiled", "balance 1.0 rcb")


def assert_single_precision(point: Point, answer: Evaluation) -> None:
    np.testing.assert_allclose(point.energy, answer.energy[0], atol=SINGLE_ENERGY * len(point.forces), rtol=0)
    np.testing.assert_allclose(point.forces, answer.forces.numpy() @ point.rotation, atol=SINGLE_FORCE, rtol=0)


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_any_division_gives_the_same(tmp_path: Path, house_model_file: Path, ranks: int) -> None:
    cases, answers, names = [], [], []
    for structure in (water_crystal, triclinic_crystal, small_triclinic, wire, isolated_atoms, corner_molecule):
        atoms = structure()
        answer = expected(house_model_file, atoms)
        for division, skin, backend in product(divisions(ranks, structure), (0.5, 2.0), ("torchscript", "kernel")):
            precisions = ("double", "single") if skin == 0.5 and division.name == GRIDS[ranks][0] else ("double",)
            for precision in precisions:
                options = f"backend {backend} precision {precision} max_edges 700"
                cases.append(
                    Case(
                        atoms,
                        ELEMENTS,
                        hesspot_pair(house_model_file, ELEMENTS, options) + f"\nneighbor {skin} bin",
                        division.before,
                        division.after,
                    )
                )
                answers.append(answer)
                names.append(f"{structure.__name__}, {division.name}, skin {skin}, {backend}, {precision}")
    for name, case, answer, point in zip(names, cases, answers, single_points(tmp_path, cases, ranks), strict=True):
        try:
            if "single" in name:
                assert_single_precision(point, answer)
            else:
                assert_same(point, case.atoms, answer)
        except AssertionError as error:
            raise AssertionError(f"{name} on {ranks} ranks: {error}") from error


@pytest.mark.parametrize("ranks", [1, 4])
def test_atoms_that_the_model_does_not_see(tmp_path: Path, house_model_file: Path, ranks: int) -> None:
    """Types with NULL, on ranks that have no others; two models of disjoint types; hybrid styles."""
    atoms = layers()
    symbols = np.array(atoms.get_chemical_symbols())
    file = house_model_file
    cases = [
        Case(atoms, ELEMENTS, hesspot_pair(file, ["O", "C", "NULL", "H"]), "processors 1 1 *"),
        Case(
            atoms,
            ELEMENTS,
            f"""pair_style hybrid hesspot backend torchscript hesspot zero 5.0
pair_coeff * * hesspot 1 "{file}" O C NULL H
pair_coeff * * hesspot 2 "{file}" NULL NULL N NULL
pair_coeff 1*2 3 zero
pair_coeff 3 4 zero""",
        ),
        Case(
            atoms,
            ELEMENTS,
            f"""pair_style hybrid/overlay hesspot zero 5.0
pair_coeff * * hesspot "{file}" {" ".join(ELEMENTS)}
pair_coeff * * zero""",
        ),
        Case(
            atoms,
            ELEMENTS,
            f"""variable part equal 0.25
pair_style hybrid/scaled v_part hesspot backend torchscript 0.75 hesspot zero 5.0
pair_coeff * * hesspot 1 "{file}" {" ".join(ELEMENTS)}
pair_coeff * * hesspot 2 "{file}" {" ".join(ELEMENTS)}
pair_coeff * * zero""".replace("zero 5.0", "1.0 zero 5.0"),
        ),
    ]
    without, split, overlay, scaled = single_points(tmp_path, cases, ranks)
    nitrogen = symbols == "N"
    answers = {mine: expected(file, atoms[nitrogen == mine]) for mine in (False, True)}
    for mine, answer in answers.items():
        np.testing.assert_allclose(split.forces[nitrogen == mine], answer.forces, atol=1e-9, rtol=0)
    np.testing.assert_allclose(split.energy, sum(float(a.energy[0]) for a in answers.values()), atol=1e-9, rtol=0)
    np.testing.assert_allclose(without.forces[~nitrogen], answers[False].forces, atol=1e-9, rtol=0)
    np.testing.assert_allclose(without.energy, answers[False].energy[0], atol=1e-9, rtol=0)
    assert not without.forces[nitrogen].any() and not without.atom_energies[nitrogen].any()
    for point in (overlay, scaled):
        assert_same(point, atoms, expected(file, atoms))
