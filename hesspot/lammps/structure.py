"""Structures as LAMMPS wants them: a right-handed box with a along x and b in the xy plane, atoms inside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import ase
import numpy as np
from ase.data import atomic_masses, atomic_numbers

from hesspot.electrons import States, require_trained
from hesspot.errors import UserError
from hesspot.graph import species_of
from hesspot.structures import check_structure, fixed_coordinates, in_a_box
from hesspot.units import AMU_A2_PER_FS2

#: Room (Å) between the atoms and the walls of a direction that is not periodic.
PADDING = 5.0


def boundary(atoms: ase.Atoms) -> str:
    """The argument of LAMMPS's `boundary` for this structure: p where it is periodic, else f."""
    return " ".join("p" if periodic else "f" for periodic in atoms.pbc)


def write_data(
    path: str | Path,
    atoms: ase.Atoms,
    elements: Sequence[str],
    masses: Sequence[float] | None = None,
    length: float = 1.0,
    electrons: States = None,
) -> np.ndarray:
    """Write a data file for `atom_style atomic`, with one atom type per entry of `elements`; IDs as in `atoms`.

    An element of several masses (isotopes) takes as many types: `elements` names it as often, as `pair_coeff` then
    must, and the types are in ascending order of the mass. masses: of each type, amu, in the place of the structure's;
    length: 1 Å in LAMMPS's unit, for an input whose `units` have another. electrons: what the model that will run was
    trained on, `read_model(…).electrons`: a data file cannot say another charge or multiplicity.
    Velocities are written where the structure has momenta, in Å/ps (`units metal`). Returns the rotation Q (3, 3) with
    which `vector @ Q` is a vector of LAMMPS. UserError for an element that is not in `elements`, masses that do not fit
    into it, held atoms, a charge or spin that the model does not know, and what `check_structure` refuses.
    """
    path = Path(path)
    place = f"the structure for {path}"
    check_structure(atoms, place)
    require_trained(atoms, place, electrons)
    if fixed_coordinates(atoms, place).any():
        raise UserError(
            f"{place} has atoms that a constraint holds, which a data file cannot say; remove the constraint, and hold "
            "them in the input with `fix ID group setforce 0 0 0`"
        )
    if length != 1.0 and atoms.has("momenta"):
        raise UserError(f"{place} has velocities, which are written for `units metal` only; leave them or `length` out")
    types = species_of(atoms.get_chemical_symbols(), elements) + 1
    if masses is None:
        types, masses = _types_of_masses(atoms, elements, place)
    box, rotation = lammps_box(atoms)
    positions = atoms.positions @ rotation
    for axis in np.flatnonzero(~atoms.pbc):
        positions[:, axis] += PADDING - positions[:, axis].min()
    box, positions = length * box, length * positions
    lines = ["hesspot", "", f"{len(atoms)} atoms", f"{len(elements)} atom types", ""]
    lines += [f"0.0 {float(box[k, k])!r} {name}lo {name}hi" for k, name in enumerate("xyz")]
    if np.any(np.tril(box, -1)):
        lines.append(f"{float(box[1, 0])!r} {float(box[2, 0])!r} {float(box[2, 1])!r} xy xz yz")
    lines += ["", "Masses", ""]
    lines += [f"{type_} {float(mass)!r}  # {elements[type_ - 1]}" for type_, mass in enumerate(masses, 1)]
    lines += ["", "Atoms  # atomic", ""]
    for number, (type_, (x, y, z)) in enumerate(zip(types, positions.tolist(), strict=True), 1):
        lines.append(f"{number} {type_} {x!r} {y!r} {z!r}")
    if atoms.has("momenta"):
        lines += ["", "Velocities", ""]
        velocities = atoms.get_momenta() / atoms.get_masses()[:, None] / AMU_A2_PER_FS2**0.5 * 1e3 @ rotation
        lines += [f"{number} {x!r} {y!r} {z!r}" for number, (x, y, z) in enumerate(velocities.tolist(), 1)]
    path.write_text("\n".join(lines) + "\n")
    return rotation


def _types_of_masses(atoms: ase.Atoms, elements: Sequence[str], place: str) -> tuple[np.ndarray, list[float]]:
    """The type of each atom (n,), from 1, and the mass of each type, amu."""
    symbols, own = np.array(atoms.get_chemical_symbols()), atoms.get_masses()
    types = np.zeros(len(atoms), dtype=np.int64)
    masses = [float(atomic_masses[atomic_numbers[element]]) for element in elements]
    for element in dict.fromkeys(symbols):
        slots = [slot for slot, name in enumerate(elements) if name == element]
        found = np.unique(own[symbols == element])
        if len(found) > len(slots):
            raise UserError(
                f"{place} has {element} of {len(found)} masses ({', '.join(f'{mass:g}' for mass in found)} amu), and "
                f"an atom type has one; name {element} {len(found)} times among the elements, here and in pair_coeff"
            )
        for slot, mass in zip(slots, found, strict=False):
            masses[slot] = float(mass)
            types[(symbols == element) & (own == mass)] = slot + 1
    return types, masses


def lammps_box(atoms: ase.Atoms) -> tuple[np.ndarray, np.ndarray]:
    """Lower triangular box (rows are lattice vectors, Å), and the rotation Q with box = lattice @ Q."""
    rotation, upper = np.linalg.qr(in_a_box(atoms, 2 * PADDING).cell.array.T)
    signs = np.sign(np.diag(upper))
    box = np.tril((signs[:, None] * upper).T)
    box[np.abs(box) < 1e-12 * np.abs(box).max()] = 0.0
    return box, rotation * signs
