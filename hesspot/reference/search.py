"""Stationary points, found from rough guesses and proved.

A guess is first relaxed with GFN2-xTB, then on a coarse integration grid, and finished by Newton steps on the fine
one.
"""

from __future__ import annotations

import os

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.optimize import BFGS

from hesspot.analysis.molecules import fragments, is_same_molecule
from hesspot.analysis.normal_modes import normal_modes
from hesspot.data import Record
from hesspot.reference.pyscf_labels import Labels, Method, NotConverged, PySCFCalculator, compute
from hesspot.reference.sampling import optimise
from hesspot.units import SQRT_EV_PER_A2_AMU

FMAX = 2e-4  #: eV/Å, largest force at a stationary point
FMAX_COARSE = 5e-3  #: eV/Å, before the Newton steps
FMAX_END = 0.03  #: eV/Å, at the optimised end of a path, which is only compared with the minima


def coarse(method: Method) -> Method:
    """The same level on a grid that is good enough to search on."""
    return method.model_copy(update={"grid": (50, 194), "conv_tol": 1e-9, "cphf_tol": 1e-6})


def find_stationary(guess: Atoms, order: int, method: Method) -> tuple[Atoms, Labels]:
    """The minimum (order 0) or saddle point (order 1) next to a guess, and its labels.

    Raises:
        NotConverged: none was found, or it has another number of imaginary modes.
    """
    try:
        atoms, hessian = _coarse_point(_relax_with_xtb(guess, order), order, method)
    except NotConverged:
        atoms, hessian = _coarse_point(guess, order, method)
    if len(atoms) > 1:
        atoms = _newton(atoms, hessian, PySCFCalculator(method))
    labels = compute(atoms, method, stability=True)
    assert labels.hessian is not None
    found = normal_modes(atoms, labels.hessian).n_imaginary
    if found != order:
        raise NotConverged(f"the stationary point has {found} imaginary modes instead of {order}")
    labels.properties["n_imaginary"] = float(found)
    return atoms, labels


def _coarse_point(start: Atoms, order: int, method: Method) -> tuple[Atoms, np.ndarray]:
    """The stationary point next to `start` on the coarse grid, and its Hessian (3n, 3n) in eV/Å²."""
    calculator = PySCFCalculator(coarse(method))
    try:
        atoms = optimise(start, calculator, order, FMAX_COARSE)
    except RuntimeError as error:
        raise NotConverged(str(error)) from error
    hessian = calculator.hessian(atoms)
    found = normal_modes(atoms, hessian).n_imaginary
    if found != order:
        raise NotConverged(f"the stationary point has {found} imaginary modes instead of {order}")
    return atoms, hessian


def _relax_with_xtb(guess: Atoms, order: int) -> Atoms:
    """The guess relaxed with GFN2-xTB, or the guess itself where that leads nowhere."""
    from tblite.ase import TBLite

    atoms = guess.copy()
    atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
    try:
        if order == 0:
            converged = BFGS(atoms, logfile=None, maxstep=0.1).run(fmax=0.01, steps=200)
        else:
            from sella import Sella

            converged = Sella(atoms, order=1, logfile=os.devnull).run(fmax=0.01, steps=200)
            if converged and _imaginary_of_differences(atoms) != 1:
                converged = False
    except (RuntimeError, np.linalg.LinAlgError):  # of tblite, and of Sella's coordinates at odd guesses
        converged = False
    atoms.calc = None
    return atoms if converged else guess.copy()


def _imaginary_of_differences(atoms: Atoms, step: float = 2e-3) -> int:
    """Number of imaginary modes from central differences of the calculator's forces."""
    rows = []
    moved = atoms.copy()
    moved.calc = atoms.calc
    for i in range(len(atoms)):
        for axis in range(3):
            sides = []
            for sign in (1, -1):
                moved.positions = atoms.positions
                moved.positions[i, axis] += sign * step
                sides.append(moved.get_forces().ravel())
            rows.append((sides[1] - sides[0]) / (2 * step))
    hessian = np.array(rows)
    return normal_modes(atoms, 0.5 * (hessian + hessian.T)).n_imaginary


def _newton(atoms: Atoms, hessian: np.ndarray, calculator: Calculator, steps: int = 12) -> Atoms:
    """Newton steps with a fixed Hessian (3n, 3n) in its vibrations, until the forces are below `FMAX`."""
    modes = normal_modes(atoms, hessian)
    values = np.sign(modes.frequencies) * (modes.frequencies / SQRT_EV_PER_A2_AMU) ** 2
    weights = np.sqrt(np.repeat(atoms.get_masses(), 3))
    atoms = atoms.copy()
    for _ in range(steps):
        atoms.calc = calculator
        forces = atoms.get_forces()
        atoms.calc = None
        if np.abs(forces).max() < FMAX:
            return atoms
        shift = modes.vectors.T @ (modes.vectors @ (forces.ravel() / weights) / values) / weights
        shift *= min(1.0, 0.1 / np.abs(shift).max())
        atoms.positions += shift.reshape(-1, 3)
    raise NotConverged(f"forces stay above {FMAX} eV/Å after {steps} Newton steps")


def relax_end(atoms: Atoms, method: Method) -> Atoms:
    """The minimum that the last point of a path runs into, on the coarse grid and loosely converged."""
    return optimise(atoms, PySCFCalculator(coarse(method)), 0, FMAX_END, strict=False)


def identify(atoms: Atoms, minima: list[Record]) -> frozenset[str]:
    """The systems of the minima that the fragments of a structure are equal to, whatever the order of atoms."""
    return frozenset(_name_of(fragment, minima) for fragment in fragments(atoms))


def _name_of(atoms: Atoms, minima: list[Record]) -> str:
    known = (record.system for record in minima if is_same_molecule(atoms, record.atoms_only()))
    return next(known, f"unknown {atoms.get_chemical_formula()}")
