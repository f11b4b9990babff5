"""Every door is given every bad structure, as a program: a fault here may end the process, or never end.

Prints two lines of JSON for each: what is tried now, and the sentence that was given or what came in its place.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ase import Atoms
from test_structures import BAD, house

from hesspot.analysis.normal_modes import normal_modes
from hesspot.calculators import HesspotCalculator
from hesspot.contract import build_batch
from hesspot.data import Dataset, Record
from hesspot.data.convert import convert
from hesspot.data.readers import Options
from hesspot.errors import UserError
from hesspot.export import fingerprint_entry, read_model
from hesspot.ipi.inputs import write_start
from hesspot.lammps.structure import write_data
from hesspot.neighbors import find_edges
from hesspot.reference.labelling import label_file
from hesspot.reference.tblite_labels import TbliteMethod
from hesspot.structures import check_structure, read_structure, read_structures
from ipi_driver.evaluation.evaluator import Evaluator
from ipi_driver.template import read_template

#: Bad structures that are no matter of positions and cell, all that a search and i-PI's messages have.
OF_ATOMS = {"no atoms", "ghost", "number 119", "mass"}
#: What is only seen where distances are.
OF_DISTANCES = {"coincident", "coincident over the wall"}
#: A cell of what is not periodic, which i-PI always sends and a dataset does not keep.
NOT_LOOKED_AT = {"cell NaN, not periodic"}

MODEL = house()


def on_file(atoms: Atoms, folder: Path) -> Path:
    atoms.write(folder / "bad.traj")
    return folder / "bad.traj"


def force(atoms: Atoms, folder: Path) -> None:
    atoms = atoms.copy()
    atoms.calc = HesspotCalculator(MODEL)
    atoms.get_forces()


def ipi_step(atoms: Atoms, folder: Path) -> None:
    evaluator = Evaluator(read_model(sys.argv[1]), ["H"] * len(atoms), atoms.pbc)
    evaluator(atoms.positions[None], atoms.cell.array[None])


def dataset(atoms: Atoms, folder: Path) -> None:
    Dataset([Record.from_atoms(atoms, name="it")], "none").write(folder / "set.h5")


def label(atoms: Atoms, folder: Path) -> None:
    atoms = atoms.copy()
    atoms.info["charge"] = -1  # of OH: an even number of electrons
    label_file(on_file(atoms, folder), folder / "labels.h5", TbliteMethod())


#: Name, door, and the bad structures that cannot be seen there.
DOORS: dict[str, tuple[Callable[[Atoms, Path], object], set[str]]] = {
    "check": (lambda atoms, folder: check_structure(atoms, "it"), set()),
    "forces": (force, set()),
    "Hessian": (lambda atoms, folder: HesspotCalculator(MODEL).get_hessian(atoms), set()),
    "batch": (lambda atoms, folder: build_batch([Atoms("O"), atoms], ["H", "O"], 4.0), set()),
    "search": (lambda atoms, folder: find_edges(atoms.positions, atoms.cell.array, atoms.pbc, 4.0), OF_ATOMS),
    "fingerprint": (lambda atoms, folder: fingerprint_entry(MODEL, "it", atoms), set()),
    "i-PI's message": (ipi_step, OF_ATOMS | NOT_LOOKED_AT),
    "i-PI's start": (lambda atoms, folder: write_start(folder / "start.xyz", atoms), set()),
    "template": (lambda atoms, folder: read_template(on_file(atoms, folder)), OF_DISTANCES),
    "file": (lambda atoms, folder: read_structure(on_file(atoms, folder)), OF_DISTANCES),
    "files": (lambda atoms, folder: read_structures(on_file(atoms, folder)), OF_DISTANCES),
    "LAMMPS data": (lambda atoms, folder: write_data(folder / "x.data", atoms, ["H", "O"]), set()),
    "dataset": (dataset, set()),
    "convert": (lambda atoms, folder: convert([on_file(atoms, folder)], Options()), NOT_LOOKED_AT),
    "label": (label, set()),
    "modes": (lambda atoms, folder: normal_modes(atoms, np.eye(3 * len(atoms))), set(BAD) - OF_ATOMS),
}


if __name__ == "__main__":
    for door, (enter, unseen) in DOORS.items():
        for name, (bad, _) in BAD.items():
            if name in unseen:
                continue
            print(json.dumps({"door": door, "name": name}), flush=True)
            try:
                outcome = f"let in: {enter(bad, Path(sys.argv[2]))}"
            except UserError as error:
                outcome = f"refused: {error}"
            except Exception as error:
                outcome = f"{type(error).__name__}: {error}"
            print(json.dumps({"door": door, "name": name, "outcome": outcome}), flush=True)
