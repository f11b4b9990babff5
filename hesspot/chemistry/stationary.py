"""Minima and saddle points of a model, found by ASE's and Sella's optimisers and finished with exact Hessians."""

from __future__ import annotations

import os
from dataclasses import dataclass

import ase
import numpy as np
from ase.optimize import BFGS

from hesspot.analysis.normal_modes import NormalModes, normal_modes
from hesspot.analysis.stationary import stationary_point
from hesspot.chemistry.surface import Surface
from hesspot.errors import UserError
from hesspot.extras import install_hint
from hesspot.structures import fixed_coordinates

#: eV/Å; a structure whose largest force component is below counts as stationary where it is taken as it is.
STATIONARY = 1e-3

#: eV/Å; where Newton's steps take over from an optimiser.
NEAR = 0.02

#: eV/Å; what is taken where Newton's steps do not get to 1e-8: between molecules that hardly feel each other.
SOFT = 1e-5

#: Å; how far a minimum that turned out to be a saddle point is moved along its imaginary mode, and how many times.
PUSH, PUSHES = 0.1, 4

#: Steps of an optimiser.
STEPS = 500


@dataclass(frozen=True, eq=False)
class StationaryPoint:
    """A structure and the model's exact numbers there: energy eV, largest force component eV/Å that no constraint
    holds, Hessian (3n, 3n) eV/Å², and its modes."""

    atoms: ase.Atoms
    energy: float
    force: float
    hessian: np.ndarray
    modes: NormalModes

    @property
    def order(self) -> int:
        """The number of imaginary modes: 0 for a minimum, 1 for a saddle point."""
        return self.modes.n_imaginary


def point_at(surface: Surface, atoms: ase.Atoms) -> StationaryPoint:
    """The structure as it is, whatever its forces."""
    energy, forces = surface.energy_and_forces(atoms)
    hessian = surface.hessian(atoms)
    free = np.where(fixed_coordinates(atoms, "the structure"), 0.0, forces)
    return StationaryPoint(
        surface.plain(atoms), energy, float(np.abs(free).max()), hessian, normal_modes(atoms, hessian)
    )


def require_stationary(atoms: ase.Atoms, force: float, remedy: str) -> None:
    """UserError where the largest force component, eV/Å, is above `STATIONARY`; `remedy` ends the sentence."""
    if force > STATIONARY:
        raise UserError(
            f"{atoms.symbols} is no stationary point of this model: its largest force is {force:.2g} eV/Å, where at "
            f"most {STATIONARY:g} is taken for one; {remedy}"
        )


def find_minimum(surface: Surface, guess: ase.Atoms) -> StationaryPoint:
    """The minimum that leads down from `guess`, to 1e-8 eV/Å; its cell stays as it is.

    BFGS that begins with the exact Hessian, then Newton's steps. A saddle point that the guess's symmetry leads to is
    left along its imaginary mode, each time farther down before Newton's steps. UserError if nothing
    is found.
    """
    here = guess
    for number in range(PUSHES):
        point = _finished(surface, _descended(surface, here, NEAR * 0.1**number), downhill=True)
        if point.order == 0:
            return point
        here = point.atoms.copy()
        mode = point.modes.displacements()[0]
        here.positions += PUSH * mode / np.linalg.norm(mode, axis=1).max()
    raise UserError(
        f"no minimum of {guess.symbols} was found: {PUSHES} searches ended at saddle points, the last with "
        f"{point.order} imaginary modes; give another start"
    )


def find_saddle(surface: Surface, guess: ase.Atoms) -> StationaryPoint:
    """The saddle point of first order next to `guess`, to 1e-8 eV/Å, by Sella (E. Hermes et al., J. Chem. Theory
    Comput. 18, 6974, 2022) with the exact Hessian at each step, then Newton's steps. UserError if there is none."""
    try:
        from sella import Sella
    except ModuleNotFoundError as error:
        raise UserError(f"saddle points are searched by Sella; install it with {install_hint('reference')}") from error
    atoms = surface.attach(guess)
    try:
        search = Sella(atoms, order=1, hessian_function=surface.hessian, logfile=os.devnull, diag_every_n=1)
        found = search.run(fmax=NEAR, steps=STEPS)
    except (RuntimeError, ValueError, np.linalg.LinAlgError) as error:
        raise UserError(f"Sella gave up its search from {guess.symbols}: {error}; give another guess") from error
    if not found:
        raise UserError(
            f"Sella found no saddle point of {guess.symbols} in {STEPS} steps (largest force left: "
            f"{np.linalg.norm(atoms.get_forces(), axis=1).max():.2g} eV/Å); give a guess that is nearer to one"
        )
    point = _finished(surface, atoms)
    if point.order != 1:
        raise UserError(
            f"the stationary point next to the guess of {guess.symbols} has {point.order} imaginary modes where a "
            "saddle point has one; give another guess"
        )
    return point


def _descended(surface: Surface, guess: ase.Atoms, fmax: float) -> ase.Atoms:
    atoms = surface.attach(guess)
    optimiser = BFGS(atoms, logfile=None, maxstep=0.1)
    hessian = surface.hessian(atoms)
    held = fixed_coordinates(atoms, "the structure").ravel()
    hessian[held] = hessian[:, held] = 0.0
    values, modes = np.linalg.eigh(hessian)
    optimiser.H0 = (modes * np.maximum(np.abs(values), 1.0)) @ modes.T
    if not optimiser.run(fmax=fmax, steps=STEPS):
        raise UserError(
            f"{guess.symbols} is not relaxed after {STEPS} steps of BFGS; check that the model knows such structures"
        )
    return atoms


def _finished(surface: Surface, atoms: ase.Atoms, *, downhill: bool = False) -> StationaryPoint:
    def derivatives(here: ase.Atoms) -> tuple[np.ndarray, np.ndarray]:
        return surface.energy_and_forces(here)[1], surface.hessian(here)

    return point_at(surface, stationary_point(surface.plain(atoms), derivatives, SOFT, downhill=downhill)[0])
