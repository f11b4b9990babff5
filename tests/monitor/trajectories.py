"""Trajectories as LAMMPS and i-PI write them, of frames that the tests know."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import molecule

from hesspot.calculators import HesspotCalculator

#: Units of `units metal`: Å/ps for velocities.
PS = 1e-3


@dataclass(frozen=True, eq=False)
class Step:
    """One frame: structure, forces in eV/Å, velocities in Å/fs."""

    step: int
    atoms: Atoms
    forces: np.ndarray
    velocities: np.ndarray


def waters(model: Path, count: int = 4) -> list[Step]:
    """Three rattled waters in a skew box, with the model's own forces and random velocities."""
    random = np.random.default_rng(3)
    calculator = HesspotCalculator(model)
    steps = []
    for number in range(count):
        atoms = Atoms(cell=[[7.0, 0, 0], [1.5, 6.5, 0], [-0.8, 0.6, 7.5]], pbc=True)
        for shift in ([0.5, 0.4, 0.3], [3.6, 3.2, 1.0], [0.9, 2.6, 4.5]):
            atoms += molecule("H2O", positions=molecule("H2O").positions + shift)
        atoms.positions += random.normal(0, 0.04, (9, 3))
        velocities = random.normal(0, 0.01, (9, 3))
        steps.append(Step(100 * number, atoms, calculator.get_forces(atoms), velocities))
    return steps


def dump_text(
    steps: Sequence[Step],
    columns: str = "id element x y z fx fy fz vx vy vz",
    digits: str = "%.12g",
    head: str = "",
) -> str:
    """As `dump custom` writes it: rows in no order, IDs from 11 on in steps of 3."""
    text = ""
    for step in steps:
        cell = step.atoms.cell.array
        xy, xz, yz = cell[1, 0], cell[2, 0], cell[2, 1]
        low = np.array([min(0, xy, xz, xy + xz), min(0, yz), 0.0])
        high = np.diag(cell) + np.array([max(0, xy, xz, xy + xz), max(0, yz), 0.0])
        text += f"{head}ITEM: TIMESTEP\n{step.step}\nITEM: NUMBER OF ATOMS\n{len(step.atoms)}\n"
        text += "ITEM: BOX BOUNDS xy xz yz pp pp pp\n"
        for a, b, tilt in zip(low, high, (xy, xz, yz), strict=True):
            text += f"{a:.16e} {b:.16e} {tilt:.16e}\n"
        text += f"ITEM: ATOMS {columns} \n"
        values = {
            **dict(zip(("x", "y", "z"), step.atoms.positions.T, strict=True)),
            **dict(zip(("xs", "ys", "zs"), step.atoms.get_scaled_positions(wrap=False).T, strict=True)),
            **dict(zip(("fx", "fy", "fz"), step.forces.T, strict=True)),
            **dict(zip(("vx", "vy", "vz"), step.velocities.T / PS, strict=True)),
        }
        for row in np.random.default_rng(step.step).permutation(len(step.atoms)):
            symbol = step.atoms.symbols[row]
            words = {"id": f"{11 + 3 * row}", "element": symbol, "type": "12"[symbol == "H"]}
            text += " ".join(words.get(key) or digits % values[key][row] for key in columns.split()) + " \n"
    return text
