"""Structures on which engines in parallel have gone wrong."""

import numpy as np
from ase import Atoms
from ase.build import molecule


def water_crystal() -> Atoms:
    cell = molecule("H2O")
    cell.set_cell([3.1, 3.2, 3.3])
    cell.pbc = True
    atoms = cell * (2, 2, 2)
    atoms.rattle(0.05, seed=3)
    return atoms


def triclinic_crystal() -> Atoms:
    atoms = water_crystal()
    atoms.set_cell(1.1 * atoms.cell.array + np.array([[0, 0, 0], [1.0, 0, 0], [-0.8, 0.7, 0]]), scale_atoms=True)
    return atoms


def small_triclinic() -> Atoms:
    """A left-handed cell smaller than the cutoff, turned in space, one atom outside of it."""
    atoms = Atoms(
        "CNO",
        positions=[[0, 0, 0], [1.2, 0.1, 0.3], [2.0, 1.5, -7]],
        cell=[[0.3, 3.1, 0.2], [2.8, 0.5, 0.7], [-0.4, 1.2, 4.0]],
        pbc=True,
    )
    atoms.rotate(33, (1, 2, 3), rotate_cell=True)
    return atoms


def wire() -> Atoms:
    return Atoms(
        "CNO", positions=[[0, 0, 0], [1.2, 0.1, 0.3], [2.0, 1.5, 2]], cell=[0, 3.4, 0], pbc=[False, True, False]
    )


def isolated_atoms() -> Atoms:
    """Two atoms out of each other's reach."""
    return Atoms("CO", positions=[[0, 0, 0], [0, 0, 30.0]])


def corner_molecule() -> Atoms:
    """A molecule in the corner of a box that is divided among the ranks: most have no atom."""
    atoms = molecule("CH3OH")
    atoms.positions -= atoms.positions.min(0) - 0.5
    atoms.set_cell([40.0, 40.0, 40.0])
    atoms.pbc = True
    return atoms


def layers() -> Atoms:
    """A molecule below, nitrogen alone above: ranks that have atoms, but of one element only."""
    atoms = corner_molecule()
    return atoms + Atoms("N3", positions=[[1, 1, 30], [2, 1, 30.3], [30, 30, 35]])
