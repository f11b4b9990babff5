"""Structures that put engines on trial, made for any elements."""

from __future__ import annotations

from collections.abc import Sequence

import ase.build
import ase.data
import numpy as np
from ase import Atoms
from ase.collections import g2

from hesspot.errors import UserError

#: Å, by which atoms leave their sites, so that no force vanishes by symmetry.
RATTLE = 0.06
#: Of the lengths of a crystal, in the crowded box.
CROWDED = 0.93
#: Of the atoms of a molecule, at most.
LARGEST = 12
SEED = 4711


def made_for(elements: Sequence[str]) -> dict[str, Atoms]:
    """By name: molecule, cluster, crystal, triclinic cell, cell smaller than any cutoff, atoms on faces of the cell,
    crowded box, an atom alone. Crystals of two or more elements have the rock salt structure, of one its own.

    UserError for what is no element.
    """
    for symbol in elements:
        if symbol not in ase.data.atomic_numbers or symbol == "X":
            raise UserError(f"{symbol!r} is no element; write symbols such as Si or H,C,N,O")
    crystal, primitive = _crystals(elements)
    found = {}
    if molecule := _molecule(elements):
        found["molecule"] = _rattled(molecule)
    found["cluster"] = _rattled(_cluster(crystal))
    found["crystal"] = _rattled(crystal)
    found["triclinic"] = _rattled(_sheared(crystal))
    found["small cell"] = _rattled(primitive)
    found["on faces"] = _on_faces(crystal)
    crowded = crystal.copy()
    crowded.set_cell(CROWDED * crystal.cell.array, scale_atoms=True)
    found["crowded"] = _rattled(crowded)
    found["atom alone"] = Atoms(elements[0])
    return found


def _rattled(atoms: Atoms) -> Atoms:
    atoms = atoms.copy()
    atoms.rattle(RATTLE, seed=SEED)
    return atoms


def _crystals(elements: Sequence[str]) -> tuple[Atoms, Atoms]:
    """A cubic cell of about eight atoms, and the primitive one."""
    if len(elements) == 1:
        for whole in (True, False):
            try:
                return _whole(ase.build.bulk(elements[0], cubic=whole)), ase.build.bulk(elements[0])
            except (ValueError, RuntimeError, NotImplementedError):
                continue
    first, second = (elements[0], elements[1]) if len(elements) > 1 else (elements[0], elements[0])
    radii = sum(ase.data.covalent_radii[ase.data.atomic_numbers[symbol]] for symbol in (first, second))
    cubic = ase.build.bulk(first + second, "rocksalt", a=2 * 1.1 * radii, cubic=True)
    for k, symbol in enumerate(elements[2:]):  # every element somewhere
        cubic.symbols[k] = symbol
    return cubic, ase.build.bulk(first + second, "rocksalt", a=2 * 1.1 * radii)


def _whole(cell: Atoms) -> Atoms:
    """Repeated to about eight atoms."""
    while len(cell) < 4:
        repeats = np.ones(3, dtype=int)
        repeats[int(np.argmin(cell.cell.lengths()))] = 2
        cell = cell.repeat(repeats)
    return cell


def _molecule(elements: Sequence[str]) -> Atoms | None:
    """The one of the G2 set with most of the elements, and then most atoms, or two or three atoms in a row."""
    fitting = [m for m in (ase.build.molecule(name) for name in g2.names) if set(m.symbols) <= set(elements)]
    fitting = [m for m in fitting if 2 <= len(m) <= LARGEST]
    if fitting:
        return max(fitting, key=lambda m: (len(set(m.symbols)), len(m), str(m.symbols)))
    symbols = list(elements[:3]) if len(elements) > 2 else [elements[0], elements[-1], elements[0]]
    radii = [ase.data.covalent_radii[ase.data.atomic_numbers[symbol]] for symbol in symbols]
    places = [[0.0, 0.0, 0.0], [radii[0] + radii[1], 0.0, 0.0]]
    places += [[radii[0] + 1.3 * radii[1], radii[1] + radii[2], 0.3]]
    return Atoms(symbols, places)


def _cluster(crystal: Atoms) -> Atoms:
    """The atoms nearest to a place in the crystal, that no symmetry has."""
    large = crystal.repeat(2)
    middle = large.cell.array.sum(0) / 2 + [0.31, 0.17, 0.07]
    nearest = np.argsort(np.linalg.norm(large.positions - middle, axis=1))[:8]
    cluster = large[np.sort(nearest)]
    cluster.set_pbc(False)
    cluster.set_cell(None)
    return cluster


def _sheared(crystal: Atoms) -> Atoms:
    sheared = crystal.copy()
    shear = np.array([[1.0, 0.0, 0.0], [0.17, 1.03, 0.0], [-0.11, 0.13, 0.98]])
    sheared.set_cell(crystal.cell.array @ shear, scale_atoms=True)
    return sheared


def _on_faces(crystal: Atoms) -> Atoms:
    """Atoms exactly on faces, a rounding error beyond one, and outside of the cell."""
    rattled = _rattled(crystal)
    scaled = rattled.get_scaled_positions(wrap=False)
    for atom, face in enumerate((0.0, -1e-17, 1.0)):
        distances = np.abs(scaled[atom] - np.round(scaled[atom]))
        scaled[atom, int(distances.argmin())] = face
    scaled[-1] += [1.0, -1.0, 0.0]
    rattled.set_scaled_positions(scaled)
    return rattled
