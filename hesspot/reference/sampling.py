"""Structures around stationary points: steepest-descent paths, optimisation."""

import os

import numpy as np
from ase import Atoms
from ase.optimize import BFGS
from ase.optimize.optimize import Optimizer
from scipy.integrate import cumulative_trapezoid

from hesspot.analysis.harmonic_samples import harmonic_modes
from hesspot.reference.pyscf_labels import PySCFCalculator


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


def optimise(
    guess: Atoms, calculator: PySCFCalculator, order: int, fmax: float, *, strict: bool = True, steps: int = 60
) -> Atoms:
    """The minimum (order 0) or saddle point (order 1) next to a guess, from one analytic Hessian there.

    Raises:
        RuntimeError: forces are above `fmax` (eV/Å) after all steps; not raised unless `strict`.
    """
    atoms = guess.copy()
    atoms.calc = calculator
    optimiser = _minimiser(atoms, calculator) if order == 0 else _saddle_search(atoms, calculator)
    if not optimiser.run(fmax=fmax, steps=steps) and strict:
        raise RuntimeError(f"{guess.get_chemical_formula()} has forces above {fmax} eV/Å after {steps} steps")
    atoms.calc = None
    return atoms


def _minimiser(atoms: Atoms, calculator: PySCFCalculator) -> Optimizer:
    optimiser = BFGS(atoms, logfile=None, maxstep=0.1)
    values, modes = np.linalg.eigh(calculator.hessian(atoms))
    optimiser.H0 = (modes * np.maximum(np.abs(values), 1.0)) @ modes.T
    return optimiser


def _saddle_search(atoms: Atoms, calculator: PySCFCalculator) -> Optimizer:
    from sella import Sella

    return Sella(atoms, order=1, hessian_function=calculator.hessian, logfile=os.devnull, diag_every_n=8)
