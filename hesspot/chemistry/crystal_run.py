"""A crystal from its structure to phonons and elastic constants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ase
import numpy as np
from ase.stress import voigt_6_to_full_3x3_stress

from hesspot.chemistry.crystal import Relax, primitive_cell, relaxed, require_crystal
from hesspot.chemistry.elastic import Elastic, elastic_constants
from hesspot.chemistry.force_constants import crystal_derivatives
from hesspot.chemistry.phonons import Phonons, phonons
from hesspot.chemistry.surface import Surface
from hesspot.console import Progress
from hesspot.graph import graph_for
from hesspot.structures import right_handed
from hesspot.units import PRESSURES


@dataclass(frozen=True, eq=False)
class CrystalProperties:
    """All that was found of one crystal: its primitive cell, GPa that it is under, phonons, elastic constants, and the
    acoustic sum rule's residue, eV/Å²."""

    model: str
    atoms: ase.Atoms
    pressure: float
    phonons: Phonons
    elastic: Elastic
    net_force: float


def examine(
    model: Any,
    atoms: ase.Atoms,
    place: str = "the structure",
    *,
    relax: Relax = "cell",
    tolerance: float = 1e-3,
    supercell: Sequence[int] | None = None,
    temperatures: Sequence[float] = (0.0, 298.15),
) -> CrystalProperties:
    """Phonons and elastic constants of a crystal by a model, of its primitive cell in the same orientation.

    model: as of `Surface`; relax: see `hesspot.chemistry.crystal.relaxed`; tolerance: Å, of the symmetry; supercell:
    see `phonons`; temperatures: K. UserError, which begins with `place`, for a structure that is no crystal.
    """
    require_crystal(atoms, place)
    surface = Surface(model)
    graph_for(surface.calculator.model, atoms, place)  # what the structure states and the model does not know
    cell = relaxed(surface, primitive_cell(right_handed(atoms), tolerance), relax, tolerance)
    derivatives = crystal_derivatives(surface, cell)
    stress = voigt_6_to_full_3x3_stress(surface.attach(cell).get_stress())
    with Progress("bands and density of states", None):
        found = phonons(derivatives, temperatures, supercell)
    return CrystalProperties(
        model=surface.name,
        atoms=cell,
        pressure=float(-np.trace(stress) / 3.0 / PRESSURES["gpa"]),
        phonons=found,
        elastic=elastic_constants(derivatives, stress),
        net_force=derivatives.net_force,
    )
