"""Optimisation of minima and saddle points at the reference level."""

import os

import numpy as np
from ase import Atoms
from ase.optimize import BFGS
from ase.optimize.optimize import Optimizer

from hesspot.reference.pyscf_labels import PySCFCalculator


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
