"""Vibrations of a stationary point of a model: frequencies, masses, force constants, and what moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import ase
import numpy as np
from ase.constraints import FixAtoms
from ase.data import atomic_numbers

from hesspot.analysis.normal_modes import IMAGINARY, zero_point_energy
from hesspot.chemistry.mode_character import Character, characters
from hesspot.chemistry.stationary import (
    StationaryPoint,
    find_minimum,
    find_saddle,
    point_at,
    require_stationary,
)
from hesspot.chemistry.surface import Surface
from hesspot.errors import UserError
from hesspot.structures import check_atoms, fixed_coordinates
from hesspot.units import SQRT_EV_PER_A2_AMU

#: Where to go before the Hessian is asked for.
Goal = Literal["minimum", "saddle", "as it is"]

#: cm⁻¹; what is softer is no vibration: a molecule in a box that turns, atoms that do not see each other.
NO_VIBRATION = 1.0

#: What to do about a structure that is not stationary.
RELAX = "leave --no-relax out, and it is relaxed to the minimum, or pass --saddle for the saddle point next to it"


@dataclass(frozen=True, eq=False)
class Vibrations:
    """The vibrations of `point`, m of them in ascending order, imaginary ones first.

    scale: what the frequencies of the model were multiplied by.
    """

    point: StationaryPoint
    scale: float = 1.0

    @property
    def atoms(self) -> ase.Atoms:
        """The structure, with its masses and constraints."""
        return self.point.atoms

    @property
    def frequencies(self) -> np.ndarray:
        """(m,) cm⁻¹, scaled; imaginary ones negative."""
        return self.scale * self.point.modes.frequencies

    @property
    def reduced_masses(self) -> np.ndarray:
        """(m,) amu: one over the squared length of the normal mode as a Cartesian displacement, as Gaussian has them
        (J. W. Ochterski, Vibrational Analysis in Gaussian, 1999). Of a diatomic it is not m₁m₂/(m₁ + m₂), which is per
        length of the bond and not of the way of both atoms."""
        return self.point.modes.reduced_masses

    @property
    def force_constants(self) -> np.ndarray:
        """(m,) eV/Å²: reduced mass times squared angular frequency, of the model: not scaled."""
        frequencies = self.point.modes.frequencies
        return np.asarray(self.reduced_masses * np.sign(frequencies) * (frequencies / SQRT_EV_PER_A2_AMU) ** 2)

    @property
    def displacements(self) -> np.ndarray:
        """(m, n, 3): Cartesian directions of the modes, each of length 1."""
        return self.point.modes.displacements()

    @cached_property
    def characters(self) -> list[Character]:
        """What moves in each mode."""
        return characters(self.atoms, self.point.modes)

    @property
    def imaginary(self) -> np.ndarray:
        """(k,) cm⁻¹, positive: the frequencies of the imaginary modes."""
        return -self.frequencies[self.point.modes.frequencies < -IMAGINARY]

    @property
    def real(self) -> np.ndarray:
        """cm⁻¹: the frequencies that count in energies, those above `NO_VIBRATION`."""
        return self.frequencies[self.frequencies > NO_VIBRATION]

    @property
    def zero_point_energy(self) -> float:
        """eV, of the real modes."""
        return zero_point_energy(self.real)

    @property
    def n_held(self) -> int:
        """Coordinates that constraints hold."""
        return int(fixed_coordinates(self.atoms, "the structure").sum())


def vibrations(model: Any, atoms: ase.Atoms, *, goal: Goal = "minimum", scale: float = 1.0) -> Vibrations:
    """Go from `atoms` to a stationary point of the model, and take its exact Hessian apart.

    model: a `Surface`, or what one is made of. Masses and constraints (FixAtoms, FixCartesian) of `atoms` hold. goal:
    the minimum that leads down, the saddle point of first order next to it, or the structure as it is, which must be
    stationary then. UserError where none is found, where it is not stationary, and for what the model refuses.
    """
    if not 0.0 < scale <= 2.0:
        raise UserError(f"frequencies were to be scaled by {scale:g}; give a factor near 1, as in --scale 0.96")
    surface = model if isinstance(model, Surface) else Surface(model)
    check_atoms(atoms, "the structure")
    if fixed_coordinates(atoms, "the structure").all():
        raise UserError(f"all atoms of {atoms.symbols} are held, so that nothing vibrates; let some move")
    if goal == "as it is":
        point = point_at(surface, atoms)
        require_stationary(point.atoms, point.force, RELAX)
    else:
        point = (find_minimum if goal == "minimum" else find_saddle)(surface, atoms)
    return Vibrations(point, scale)


def hold(atoms: ase.Atoms, active: Sequence[int] | None, frozen: Sequence[int] | None) -> ase.Atoms:
    """A copy whose atoms but the active ones, or whose frozen ones, are held, beside what its constraints hold.

    UserError if both are given, for numbers of atoms that are not there, and for active atoms that are held already.
    """
    atoms = atoms.copy()
    if active is not None and frozen is not None:
        raise UserError("--active and --frozen say the same thing from two sides; give one of them")
    for option, chosen in (("--active", active), ("--frozen", frozen)):
        if chosen is not None and (wrong := [atom for atom in chosen if not 0 <= atom < len(atoms)]):
            raise UserError(
                f"{option} names atom {wrong[0]}, and the atoms of {atoms.symbols} are 0 to {len(atoms) - 1}"
            )
    if active is not None:
        held = fixed_coordinates(atoms, "the structure")
        if wrong := [atom for atom in active if held[atom].all()]:
            raise UserError(
                f"atom {wrong[0]} of --active is held by the structure's own constraints; leave it out, or remove these"
            )
        frozen = sorted(set(range(len(atoms))) - set(active))
    if frozen:
        atoms.set_constraint([*atoms.constraints, FixAtoms(indices=list(frozen))])
    return atoms


def with_masses(atoms: ase.Atoms, stated: Sequence[str]) -> ase.Atoms:
    """A copy with other masses: "H=2.014" for all atoms of an element, "3=2.014" for one atom, amu; the latter win.

    UserError for what is neither, for elements and atoms that are not there, and for impossible masses.
    """
    atoms = atoms.copy()
    masses = atoms.get_masses()
    for text in sorted(stated, key=lambda text: text.partition("=")[0].strip().isdigit()):
        who, _, number = (part.strip() for part in text.partition("="))
        try:
            mass = float(number)
        except ValueError:
            raise UserError(f"--mass {text!r} names no mass; write it as in H=2.014, or 3=2.014 for atom 3") from None
        if who.isdigit():
            if int(who) >= len(atoms):
                raise UserError(
                    f"--mass {text} names atom {who}, and the atoms of {atoms.symbols} are 0 to {len(atoms) - 1}"
                )
            chosen = np.arange(len(atoms)) == int(who)
        else:
            chosen = atoms.numbers == atomic_numbers.get(who, -1)
            if not chosen.any():
                raise UserError(f"--mass {text} names {who!r}, of which {atoms.symbols} has no atom; write H=2.014")
        masses[chosen] = mass
        if not np.isfinite(mass) or mass <= 0.0:
            raise UserError(f"--mass {text} is no mass; give a positive number of amu")
    if stated:
        atoms.set_masses(masses)
        check_atoms(atoms, "the structure with --mass")
    return atoms
