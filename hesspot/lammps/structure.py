"""Structures as LAMMPS wants them: a right-handed box with a along x and b in the xy plane, atoms inside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import ase
import numpy as np
from ase.data import atomic_masses, atomic_numbers
from scipy.linalg import null_space

from hesspot.contract import species_of

#: Room (Å) between the atoms and the walls of a direction that is not periodic.
PADDING = 5.0


def boundary(atoms: ase.Atoms) -> str:
    """The argument of LAMMPS's `boundary` for this structure: p where it is periodic, else f."""
    return " ".join("p" if periodic else "f" for periodic in atoms.pbc)


def write_data(
    path: str | Path, atoms: ase.Atoms, elements: Sequence[str], masses: Sequence[float] | None = None
) -> np.ndarray:
    """Write a data file for `atom_style atomic`, with one atom type per entry of `elements`; IDs as in `atoms`.

    masses: of each type, amu; by default those of the elements. Returns the rotation Q (3, 3) with which
    `vector @ Q` is a vector of LAMMPS. UserError for an element that is not in `elements`.
    """
    path = Path(path)
    types = species_of(atoms.get_chemical_symbols(), elements) + 1
    box, rotation = _lammps_box(atoms)
    positions = atoms.positions @ rotation
    for axis in np.flatnonzero(~atoms.pbc):
        positions[:, axis] += PADDING - positions[:, axis].min(initial=np.inf if len(atoms) else 0.0)
    if masses is None:
        masses = [float(atomic_masses[atomic_numbers[element]]) for element in elements]
    lines = ["hesspot", "", f"{len(atoms)} atoms", f"{len(elements)} atom types", ""]
    lines += [f"0.0 {float(box[k, k])!r} {name}lo {name}hi" for k, name in enumerate("xyz")]
    if np.any(np.tril(box, -1)):
        lines.append(f"{float(box[1, 0])!r} {float(box[2, 0])!r} {float(box[2, 1])!r} xy xz yz")
    lines += ["", "Masses", ""]
    lines += [f"{type_} {float(mass)!r}  # {elements[type_ - 1]}" for type_, mass in enumerate(masses, 1)]
    lines += ["", "Atoms  # atomic", ""]
    for number, (type_, place) in enumerate(zip(types, positions.tolist(), strict=True), 1):
        lines.append(f"{number} {type_} {place[0]!r} {place[1]!r} {place[2]!r}")
    path.write_text("\n".join(lines) + "\n")
    return rotation


def _lammps_box(atoms: ase.Atoms) -> tuple[np.ndarray, np.ndarray]:
    """Lower triangular box (rows are lattice vectors, Å), and the rotation Q with box = lattice @ Q.

    Directions that are not periodic get a vector at right angles to all others, longer than the structure.
    """
    lattice = atoms.cell.array.copy()
    free = np.flatnonzero(~atoms.pbc)
    across = np.eye(3) if len(free) == 3 else null_space(lattice[atoms.pbc])
    for axis, direction in zip(free, across.T, strict=True):
        extent = np.ptp(atoms.positions @ direction) if len(atoms) else 0.0
        lattice[axis] = direction * (extent + 2 * PADDING)
    if np.linalg.det(lattice) < 0:
        lattice[2] *= -1.0
    rotation, upper = np.linalg.qr(lattice.T)
    signs = np.sign(np.diag(upper))
    box = np.tril((signs[:, None] * upper).T)
    box[np.abs(box) < 1e-12 * np.abs(box).max()] = 0.0
    return box, rotation * signs
