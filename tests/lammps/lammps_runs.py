"""Single LAMMPS calculations for the tests, and what they must give."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from hesspot.derivatives import Evaluation
from hesspot.derivatives import evaluate as evaluate_batch
from hesspot.export import read_model
from hesspot.lammps import run_lammps
from hesspot.lammps.structure import boundary, write_data
from hesspot.models.contract import build_batch
from hesspot.verify.engines.lammps import LAMMPS_BAR, VOIGT

#: Rounding of float64 sums in another order; energies of thousands of eV have 1e-12 eV of it per atom.
ENERGY_TOLERANCE = 1e-9  # eV
FORCE_TOLERANCE = 1e-9  # eV/Å, what the same forces on any number of ranks may differ by
VIRIAL_TOLERANCE = 1e-8  # eV


@dataclass(frozen=True)
class Point:
    """A single point as LAMMPS gives it, in LAMMPS's axes and units (metal: eV, Å; virials and stress in eV)."""

    rotation: np.ndarray
    energy: float
    forces: np.ndarray
    virial: np.ndarray
    atom_energies: np.ndarray
    atom_stress: np.ndarray
    centroid_stress: np.ndarray
    output: str


def single_point(
    folder: Path,
    atoms: Atoms,
    elements: Sequence[str],
    pair: str,
    *,
    ranks: int = 1,
    units: str = "metal",
    before: str = "",
) -> Point:
    """Energy, forces and stresses with the pair commands `pair`; `before` is put ahead of the data file."""
    rotation = write_data(folder / "structure.data", atoms, elements)
    pressure = ", ".join(f"$(c_virial[{k}]:%.17g)" for k in range(1, 7))
    script = f"""
units {units}
atom_style atomic
boundary {boundary(atoms)}
{before}
read_data structure.data
{pair}
compute virial all pressure NULL virial
compute energy all pe/atom
compute stress all stress/atom NULL virial
compute centroid all centroid/stress/atom NULL virial
thermo_style custom step pe vol c_virial[*]
dump 1 all custom 1 structure.dump id fx fy fz c_energy c_stress[*] c_centroid[*]
dump_modify 1 sort id format float %.17g
run 0 post no
print '{{"energy": $(pe:%.17g), "volume": $(vol:%.17g), "pressure": [{pressure}]}}' file structure.json screen no
"""
    ended = run_lammps(script, ranks, folder, ["-log", "none"])
    assert ended.returncode == 0, ended.stdout
    told = json.loads((folder / "structure.json").read_text())
    rows = np.loadtxt(folder / "structure.dump", skiprows=9, ndmin=2)
    virial = np.zeros((3, 3))
    for (a, b), component in zip(VOIGT, told["pressure"], strict=True):
        virial[a, b] = virial[b, a] = component * told["volume"] / LAMMPS_BAR
    return Point(
        rotation=rotation,
        energy=told["energy"],
        forces=rows[:, 1:4],
        virial=virial,
        atom_energies=rows[:, 4],
        atom_stress=rows[:, 5:11] / LAMMPS_BAR,
        centroid_stress=rows[:, 11:] / LAMMPS_BAR,
        output=ended.stdout,
    )


def hesspot_pair(model: Path, elements: Sequence[str], options: str = "") -> str:
    return f'pair_style hesspot {options}\npair_coeff * * "{model}" {" ".join(elements)}'


def expected(model: Path, atoms: Atoms) -> Evaluation:
    """The exported model's own answer in Python."""
    loaded = read_model(model)
    batch = build_batch([atoms], loaded.elements, loaded.cutoff)
    return evaluate_batch(loaded, batch, virial=True, atom_virial=True)


def assert_same(point: Point, atoms: Atoms, model: Path) -> None:
    """Energy, per-atom energies, forces, virial and per-atom virials are the model's own."""
    answer = expected(model, atoms)
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


def run_failing(folder: Path, script: str, ranks: int = 2) -> str:
    """The output of a run that must fail."""
    ended: subprocess.CompletedProcess[str] = run_lammps(script, ranks, folder, ["-log", "none"])
    assert ended.returncode != 0, ended.stdout
    return ended.stdout
