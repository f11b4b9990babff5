"""Crystals: their primitive cell, and their relaxation under their symmetry."""

from __future__ import annotations

from typing import Any, Literal

import ase
import numpy as np
from ase.constraints import FixSymmetry
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from ase.spacegroup.symmetrize import refine_symmetry

from hesspot.chemistry.stationary import require_stationary
from hesspot.chemistry.surface import Surface
from hesspot.errors import UserError
from hesspot.extras import install_hint

Relax = Literal["cell", "positions", "none"]

#: eV/Å, where relaxation ends; of a cell it is the derivative of the energy per atom with respect to the strain, eV.
RELAXED, STEPS = 1e-6, 500


def require_crystal(atoms: ase.Atoms, place: str) -> None:
    """UserError for what has no phonons: a structure that is not periodic in three directions, or that is held."""
    if not atoms.pbc.all():
        raise UserError(
            f"{place} is not periodic in three directions (pbc {' '.join('TF'[not each] for each in atoms.pbc)}), so "
            "that it is no crystal; give it a cell and pbc T T T, or ask for the vibrations of a molecule"
        )
    if atoms.constraints:
        raise UserError(
            f"{place} has constraints ({type(atoms.constraints[0]).__name__}), and phonons are of crystals that move "
            "freely; remove them"
        )


def primitive_cell(atoms: ase.Atoms, tolerance: float) -> ase.Atoms:
    """The smallest cell of a crystal, in the same place and orientation; isotopes count as elements of their own.

    tolerance: Å, within which atoms are on places that a symmetry asks for.
    """
    kinds = kinds_of(atoms)
    found = _spglib().standardize_cell(as_lattice(atoms), to_primitive=True, no_idealize=True, symprec=tolerance)
    own = atoms.get_masses() if atoms.has("masses") else None
    if found is None or len(found[2]) == len(atoms):
        return ase.Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True, masses=own)
    cell, scaled, types = found
    index = [int(np.flatnonzero(kinds == kind)[0]) for kind in types]
    own = None if own is None else own[index]
    return ase.Atoms(atoms.numbers[index], cell=cell, scaled_positions=scaled, pbc=True, masses=own)


def kinds_of(atoms: ase.Atoms) -> np.ndarray:
    """(n,) from 1 on: elements, and of one element isotopes, apart."""
    _, kinds = np.unique(np.column_stack([atoms.numbers, atoms.get_masses()]), axis=0, return_inverse=True)
    return kinds.ravel() + 1


def as_lattice(atoms: ase.Atoms) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As spglib and seekpath take a crystal."""
    return atoms.cell.array, atoms.get_scaled_positions(), kinds_of(atoms)


def space_group(atoms: ase.Atoms, tolerance: float) -> str:
    """Its international symbol and number, such as `Fm-3m (225)`."""
    return str(_spglib().get_spacegroup(as_lattice(atoms), tolerance) or "P1 (1)")


def relaxed(surface: Surface, atoms: ase.Atoms, what: Relax, tolerance: float) -> ase.Atoms:
    """The crystal at the model's minimum under its symmetry; UserError if it is not reached.

    what: `cell` and positions, `positions` in the cell that is given, or `none`: as it is, which must be stationary.
    """
    moving = surface.attach(atoms)
    if what != "none":
        refine_symmetry(moving, symprec=tolerance)
        moving.set_constraint(FixSymmetry(moving, symprec=tolerance))
        target: Any = FrechetCellFilter(moving) if what == "cell" else moving
        if not BFGS(target, logfile=None).run(fmax=RELAXED, steps=STEPS):
            raise UserError(
                f"{atoms.symbols} does not relax to {RELAXED:g} eV/Å in {STEPS} steps (largest force left "
                f"{np.abs(moving.get_forces()).max():.2g} eV/Å); check that the model knows such crystals"
            )
        moving.set_constraint()
    force = float(np.abs(moving.get_forces()).max())
    require_stationary(atoms, force, "relax it with --relax positions or --relax cell")
    return surface.plain(moving)


def _spglib() -> Any:
    try:
        import spglib
    except ModuleNotFoundError as error:
        raise UserError(f"symmetry is found by spglib; install it with {install_hint('phonons')}") from error
    return spglib
