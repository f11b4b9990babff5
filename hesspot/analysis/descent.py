"""Reaction paths: steepest descent in mass-weighted coordinates from a saddle point."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
from ase import Atoms
from scipy.integrate import cumulative_trapezoid

from hesspot.analysis.harmonic_samples import harmonic_modes

#: eV/Å; a path ends where all forces are below.
FLAT = 0.02


class Derivatives(Protocol):
    """energy eV, forces (n, 3) eV/Å, and a Hessian (3n, 3n) eV/Å² if it was computed."""

    @property
    def energy(self) -> float: ...
    @property
    def forces(self) -> np.ndarray: ...
    @property
    def hessian(self) -> np.ndarray | None: ...


Known = TypeVar("Known", bound=Derivatives)


@dataclass(frozen=True)
class Step(Generic[Known]):
    """One point of a path: its structure and what is known there."""

    atoms: Atoms
    known: Known


def steepest_descent(
    saddle: Atoms,
    known: Derivatives,
    sign: int,
    length: float,
    points: int,
    evaluate: Callable[[int, Atoms, Known | None], Known],
) -> Iterator[Step[Known]]:
    """Points of the path that leaves a saddle point on one side, ending earlier where it stops going down.

    Each step is one of the local quadratic approximation of `length` Å amu^½. The Hessian is that which `evaluate`
    gives, and updated from forces where it gives none (Bofill 1994).

    Args:
        known: of the saddle point, with its Hessian.
        evaluate: gives energy and forces, and a Hessian at will, from the number of the point (the first is 1), its
            structure, and what was known at the point before (None at the first).
    """
    assert known.hessian is not None
    energy, forces, hessian = known.energy, known.forces, known.hessian
    before = saddle
    here = along_imaginary(before, hessian, sign * length)
    last: Known | None = None
    for number in range(1, points + 1):
        last = evaluate(number, here, last)
        if last.energy > energy:
            return
        yield Step(here, last)
        if np.abs(last.forces).max() < FLAT:
            return
        moved = (here.positions - before.positions).ravel()
        hessian = bofill(hessian, moved, (forces - last.forces).ravel()) if last.hessian is None else last.hessian
        before, energy, forces = here, last.energy, last.forces
        here = descend(here, forces, hessian, length)


def bofill(hessian: np.ndarray, step: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Hessian (m, m) updated so that it maps `step` to the `change` of the gradient; mixes SR1 and Powell's update.

    J. M. Bofill, J. Comput. Chem. 15, 1 (1994).
    """
    residual = change - hessian @ step
    along, square = float(residual @ step), float(step @ step)
    share = along**2 / (float(residual @ residual) * square + np.finfo(float).tiny)
    rank_one = np.outer(residual, residual) / along if share > 1e-8 else np.zeros_like(hessian)
    cross = np.outer(residual, step)
    powell = (cross + cross.T) / square - along / square**2 * np.outer(step, step)
    return hessian + share * rank_one + (1.0 - share) * powell


def descend(atoms: Atoms, forces: np.ndarray, hessian: np.ndarray, length: float) -> Atoms:
    """One step of the local quadratic approximation down the mass-weighted gradient (Page and McIver 1988).

    Follows q(t) with dq/dt = −(g + H q) on the quadratic surface until the arc has the wanted length
    in Å amu^½, or to the surface's minimum if that is nearer.
    """
    weights = np.sqrt(np.repeat(atoms.get_masses(), 3))
    values, modes = harmonic_modes(atoms, hessian)
    gradient = modes.T @ (-forces.ravel() / weights)
    stiffest = np.abs(values).max()
    times = np.concatenate([[0.0], np.geomspace(1e-5, 1e6, 8000)]) / stiffest
    decay = np.exp(np.minimum(-np.outer(times, values), 300.0))
    arc = cumulative_trapezoid(np.linalg.norm(gradient * decay, axis=1), times, initial=0.0)
    end = min(int(np.searchsorted(arc, length)), len(times) - 1)
    shift = modes @ (-gradient * -np.expm1(np.minimum(-values * times[end], 300.0)) / values)
    moved = atoms.copy()
    moved.positions = atoms.positions + (shift / weights).reshape(-1, 3)
    return moved


def along_imaginary(atoms: Atoms, hessian: np.ndarray, length: float) -> Atoms:
    """The saddle point moved along its imaginary mode by a signed length in Å amu^½."""
    _, modes = harmonic_modes(atoms, hessian)
    mode = modes[:, 0] * np.sign(modes[np.abs(modes[:, 0]).argmax(), 0])
    moved = atoms.copy()
    moved.positions = atoms.positions + (length * mode).reshape(-1, 3) / np.sqrt(atoms.get_masses())[:, None]
    return moved
