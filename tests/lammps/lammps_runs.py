"""Single LAMMPS calculations for the tests, and what they must give."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from bent_files import rewritten, said

from hesspot.contract import build_batch
from hesspot.derivatives import Evaluation
from hesspot.derivatives import evaluate as evaluate_batch
from hesspot.export import read_model
from hesspot.export.file import eager_model
from hesspot.export.metadata import METADATA_NAME
from hesspot.lammps import run_lammps
from hesspot.lammps.structure import boundary, write_data
from hesspot.verification.engines.lammps import LAMMPS_BAR, VOIGT

#: Rounding of float64 sums in another order; energies of thousands of eV have 1e-12 eV of it per atom.
ENERGY_TOLERANCE = 1e-9  # eV
FORCE_TOLERANCE = 1e-9  # eV/Å, what the same forces on any number of ranks may differ by
VIRIAL_TOLERANCE = 1e-8  # eV

#: LAMMPS's own unit of pressure per unit of energy and volume (`nktv2p`), to undo its conversion digit by digit.
PRESSURE = {"metal": LAMMPS_BAR, "real": 68568.415, "si": 1.0, "electron": 2.94210108e13}


@dataclass(frozen=True)
class Point:
    """A single point as LAMMPS gives it, in LAMMPS's axes and units; virials and stress are energies."""

    rotation: np.ndarray
    energy: float
    forces: np.ndarray
    virial: np.ndarray
    atom_energies: np.ndarray
    atom_stress: np.ndarray
    centroid_stress: np.ndarray
    output: str


@dataclass(frozen=True)
class Case:
    """A structure and the commands for it: `before` the data file is read, `after`, and those of the pair style.

    The IDs of the atoms have gaps and run backwards. Lengths are those of `units`.
    """

    atoms: Atoms
    elements: Sequence[str]
    pair: str
    before: str = ""
    after: str = ""
    units: str = "metal"
    length: float = 1.0  # 1 Å in these units
    nine: str = "centroid/stress/atom"  # for styles that lack it: stress/atom


def single_points(folder: Path, cases: Sequence[Case], ranks: int = 1) -> list[Point]:
    """All cases in one LAMMPS process."""
    pressure = ", ".join(f"$(c_virial[{k}]:%.17g)" for k in range(1, 7))
    rotations, script = [], ""
    for number, case in enumerate(cases):
        data = folder / f"{number}.data"
        rotations.append(write_data(data, case.atoms, case.elements, length=case.length))
        scatter_ids(data)
        script += f"""
clear
units {case.units}
atom_style atomic
boundary {boundary(case.atoms)}
{case.before}
read_data {number}.data
{case.after}
{case.pair}
compute virial all pressure NULL virial
compute energy all pe/atom
compute stress all stress/atom NULL virial
compute centroid all {case.nine} NULL virial
thermo_style custom step pe vol c_virial[*]
dump 1 all custom 1 {number}.dump id fx fy fz c_energy c_stress[*] c_centroid[*]
dump_modify 1 sort id format float %.17g
run 0 post no
print '{{"energy": $(pe:%.17g), "volume": $(vol:%.17g), "pressure": [{pressure}]}}' file {number}.json screen no
"""
    ended = run_lammps(script, ranks, folder, ["-log", "none"])
    assert ended.returncode == 0, ended.stdout
    return [
        _read(folder, number, rotation, PRESSURE[case.units], ended.stdout)
        for number, (case, rotation) in enumerate(zip(cases, rotations, strict=True))
    ]


def _read(folder: Path, number: int, rotation: np.ndarray, pressure: float, output: str) -> Point:
    told = json.loads((folder / f"{number}.json").read_text())
    rows = np.loadtxt(folder / f"{number}.dump", skiprows=9, ndmin=2)[::-1]
    virial = np.zeros((3, 3))
    for (a, b), component in zip(VOIGT, told["pressure"], strict=True):
        virial[a, b] = virial[b, a] = component * told["volume"] / pressure
    return Point(
        rotation=rotation,
        energy=told["energy"],
        forces=rows[:, 1:4],
        virial=virial,
        atom_energies=rows[:, 4],
        atom_stress=rows[:, 5:11] / pressure,
        centroid_stress=rows[:, 11:] / pressure,
        output=output,
    )


def scatter_ids(data: Path) -> None:
    """Give the n atoms of a data file the IDs 3n + 2, 3n - 1, ..., 5."""
    head, rows = data.read_text().split("Atoms  # atomic\n\n")
    atoms = [line.split(" ", 1)[1] for line in rows.splitlines()]
    rows = "\n".join(f"{3 * (len(atoms) - k) + 2} {rest}" for k, rest in enumerate(atoms))
    data.write_text(f"{head}Atoms  # atomic\n\n{rows}\n")


def single_point(
    folder: Path, atoms: Atoms, elements: Sequence[str], pair: str, *, ranks: int = 1, units: str = "metal"
) -> Point:
    """Energy, forces and stresses with the pair commands `pair`."""
    return single_points(folder, [Case(atoms, elements, pair, units=units)], ranks)[0]


def hesspot_pair(model: Path, elements: Sequence[str], options: str = "") -> str:
    return f'pair_style hesspot {options}\npair_coeff * * "{model}" {" ".join(elements)}'


def expected(model: Path, atoms: Atoms) -> Evaluation:
    """The trained model's answer by torch in float64, without the kernel that LAMMPS runs."""
    loaded = eager_model(read_model(model))
    batch = build_batch([atoms], loaded.elements, loaded.cutoff)
    return evaluate_batch(loaded, batch, virial=True, atom_virial=True)


def assert_same(point: Point, atoms: Atoms, answer: Evaluation) -> None:
    """Energy, per-atom energies, forces, virial and per-atom virials are those of `answer`."""
    turn = point.rotation
    assert answer.virial is not None and answer.atom_virial is not None
    np.testing.assert_allclose(point.energy, answer.energy[0], atol=ENERGY_TOLERANCE, rtol=0)
    np.testing.assert_allclose(point.atom_energies, answer.atom_energies, atol=ENERGY_TOLERANCE, rtol=0)
    np.testing.assert_allclose(point.forces @ turn.T, answer.forces, atol=FORCE_TOLERANCE, rtol=0)
    np.testing.assert_allclose(turn @ point.virial @ turn.T, answer.virial[0], atol=VIRIAL_TOLERANCE, rtol=0)
    # stress/atom is minus the virial; LAMMPS's order of nine is xx yy zz xy xz yz yx zx zy
    order = [*VOIGT, (1, 0), (2, 0), (2, 1)]
    centroid = np.zeros((len(atoms), 3, 3))
    for k, (a, b) in enumerate(order):
        centroid[:, a, b] = -point.centroid_stress[:, k]
    np.testing.assert_allclose(turn @ centroid @ turn.T, answer.atom_virial, atol=VIRIAL_TOLERANCE, rtol=0)
    total = [point.virial[a, b] for a, b in VOIGT]
    np.testing.assert_allclose(-point.atom_stress.sum(0), total, atol=VIRIAL_TOLERANCE, rtol=0)


def run_succeeding(folder: Path, script: str, ranks: int = 1, arguments: Sequence[str] = ()) -> str:
    """The output of a run that must not fail."""
    ended = run_lammps(script, ranks, folder, ["-log", "none", *arguments])
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


def run_failing(folder: Path, script: str, ranks: int = 2) -> str:
    """The output of a run that must fail."""
    ended: subprocess.CompletedProcess[str] = run_lammps(script, ranks, folder, ["-log", "none"])
    assert ended.returncode != 0, ended.stdout
    return ended.stdout


def changed_metadata(source: Path, target: Path, **changes: object) -> Path:
    """A copy of a model file with other entries in its metadata."""
    return rewritten(source, target, {METADATA_NAME: said(**changes)})
