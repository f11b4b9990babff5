"""Are the forces the slope of the energy, and is their derivative a Hessian?

Energies and forces at one and two steps on each side of the structure, along each coordinate, or along random
directions where there are many atoms. With D(h) the central difference at the step h, (4 D(h) − D(2h)) / 3 has an error
of fourth order in h (Richardson); of the difference D(h) − D(2h), of second order, `CURVED` is what it leaves at most.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms

from hesspot.audit.engines.base import Answer
from hesspot.audit.factors import named_factor
from hesspot.audit.findings import Finding, judged, not_run
from hesspot.audit.places import places
from hesspot.audit.subject import CHANCE, Subject, answers_at
from hesspot.reference.force_lines import Differences, random_directions

FORCES = "forces are the slope of the energy"
SYMMETRIC = "Hessian is symmetric: forces have a potential"
BALANCED = "forces and torques sum to zero"
OWN_HESSIAN = "the engine's Hessian is the slope of its forces"

#: Atoms of which each coordinate is moved; of more, random directions.
EACH, DIRECTIONS = 24, 12
#: Å, between which the step lies.
STEPS = 5e-4, 0.02
#: 1/Å, of the fifth derivative of the energy over the fourth.
STIFFENING = 10.0
#: Of the difference between two steps, what Richardson's extrapolation leaves: h² f⁗/15 f″ with steps up to 0.02 Å.
CURVED = 0.02
#: Å, of the curve of errors.
CURVE = np.logspace(-5, -1, 13)
#: Å, by which atoms are moved before a fault is believed.
BESIDE, SEED = 0.01, 4711
#: eV/Å², below the largest element: what Hessians of smooth potentials have.
ASYMMETRY = 1e-6


@dataclass(frozen=True, eq=False)
class Slopes:
    """directions (m, 3n); slope (m,) of the energy along them and products (m, 3n), −∂F along them, with their error
    bars; each: whether directions are coordinates."""

    directions: np.ndarray
    slope: np.ndarray
    slope_bar: np.ndarray
    products: np.ndarray
    product_bar: np.ndarray
    answers: list[Answer]
    each: bool


def slopes(subject: Subject) -> Slopes:
    """From 4 m calculations."""
    atoms, noise = subject.atoms, subject.noise
    size, each = 3 * len(atoms), len(atoms) <= EACH
    directions = np.eye(size) if each else random_directions(subject.name, len(atoms), DIRECTIONS).reshape(-1, size)
    step = float(np.clip(best_step(noise), *STEPS))
    shifts = [s * step * d.reshape(-1, 3) for d in directions for s in (-2, -1, 1, 2)]
    answers = answers_at(subject.engine, atoms, [atoms.positions + shift for shift in shifts])
    energies = np.array([a.energy for a in answers]).reshape(-1, 4)
    forces = np.array([a.forces.ravel() for a in answers]).reshape(-1, 4, size)
    slope, slope_bar = richardson(energies, step, noise.energy_noise)
    products, product_bar = richardson(-forces, step, noise.force_noise)
    return Slopes(directions, slope, slope_bar, products, product_bar, answers, each)


def steps_and_errors(subject: Subject) -> tuple[np.ndarray, np.ndarray]:
    """Steps (k,) Å of a coordinate, and by how much a central difference of the energy along a random direction is off
    the force, eV/Å: it falls with the square of the step to what the noise leaves."""
    (direction,) = random_directions(subject.name, len(subject.atoms), 1)
    shifts = [sign * step * direction for step in CURVE for sign in (-1, 1)]
    answers = answers_at(subject.engine, subject.atoms, [subject.atoms.positions + shift for shift in shifts])
    energies = np.array([answer.energy for answer in answers]).reshape(-1, 2)
    along = -float((subject.answer.forces * direction).sum())
    return CURVE, np.abs((energies[:, 1] - energies[:, 0]) / (2 * CURVE) - along) / np.linalg.norm(direction)


def best_step(noise: Differences) -> float:
    """Å, at which the noise of an energy over the step and what Richardson's extrapolation leaves are alike."""
    return float((max(noise.energy_noise, 1e-15) / (STIFFENING * max(noise.third, 1.0))) ** 0.2)


def richardson(values: np.ndarray, step: float, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Slope at the centre of (m, 4, …) values at −2, −1, 1, 2 steps, and its error bar."""
    short = (values[:, 2] - values[:, 1]) / (2 * step)
    long = (values[:, 3] - values[:, 0]) / (4 * step)
    return (4 * short - long) / 3, CURVED * np.abs(short - long) + noise / step


def check(subject: Subject) -> list[Finding]:
    """What fails is asked again with the atoms moved a little: a bend of the forces where a neighbour comes or goes may
    lie between the points of one structure, and does not lie between those of both."""
    if len(subject.atoms) < 2:
        return _alone(subject)
    first = _checked(subject)
    subject.measured["steps"] = steps_and_errors(subject)
    if all(finding.verdict != "FAIL" for finding in first):
        return first
    beside = subject.atoms.copy()
    beside.rattle(BESIDE, seed=SEED)
    (answer,) = subject.ask([beside])
    second = _checked(replace(subject, atoms=beside, answer=answer, measured={}))
    return [b if a.verdict == "FAIL" and b.verdict == "PASS" else a for a, b in zip(first, second, strict=True)]


def _checked(subject: Subject) -> list[Finding]:
    found = slopes(subject)
    subject.measured["slopes"] = found
    return [
        _forces(subject, found),
        _symmetric(subject, found),
        _balanced(subject, found),
        _own_hessian(subject, found),
    ]


def _alone(subject: Subject) -> list[Finding]:
    """An atom with nothing else, or with its images alone: no force by symmetry."""
    error = float(np.abs(subject.answer.forces).max())
    return [judged(BALANCED, subject.name, error, subject.force_tolerance, None, "eV/Å", "one atom has a force")]


def _forces(subject: Subject, found: Slopes) -> Finding:
    forces = subject.answer.forces.ravel()
    along, length = -found.directions @ forces, np.linalg.norm(found.directions, axis=1)
    tolerance = CHANCE * found.slope_bar + subject.force_tolerance * length
    errors = np.abs(along - found.slope) / tolerance
    worst = int(np.argmax(np.nan_to_num(errors, nan=np.inf)))
    signal = float(np.abs(found.slope).max() * tolerance[worst] / tolerance.min())
    fault = ""
    if not errors[worst] <= 1:
        fault = _what_is_wrong(subject, found, along, errors)
    error = abs(along[worst] - found.slope[worst])
    return judged(FORCES, subject.name, float(error), float(tolerance[worst]), signal, "eV/Å", fault)


def _what_is_wrong(subject: Subject, found: Slopes, along: np.ndarray, errors: np.ndarray) -> str:
    if factor := named_factor(along, found.slope):
        return f"forces are {factor}, or energies the other way round"
    if not found.each:
        return "forces along a random direction are not the slope of the energy"
    of_atoms = errors.reshape(-1, 3).max(1)
    wrong = np.flatnonzero(of_atoms > 1)
    words = f"forces are not the slope of the energy on {places(subject.atoms, wrong, of_atoms)}"
    asymmetry, allowed = _asymmetry(subject, found)
    if (asymmetry > allowed).any():
        words += "; they are the slope of no energy: their derivative is not symmetric"
    return words


def _asymmetry(subject: Subject, found: Slopes) -> tuple[np.ndarray, np.ndarray]:
    """|S − Sᵀ| of second derivatives along the directions, and what is allowed; bars of components add at random."""
    second = found.products @ found.directions.T
    bar = np.sqrt(found.product_bar**2 @ found.directions.T**2)
    allowed = CHANCE * (bar + bar.T) + max(ASYMMETRY, subject.accuracy) * np.abs(second).max()
    return np.abs(second - second.T), allowed


def _symmetric(subject: Subject, found: Slopes) -> Finding:
    asymmetry, allowed = _asymmetry(subject, found)
    a, b = np.unravel_index(np.argmax(np.nan_to_num(asymmetry / allowed, nan=np.inf)), asymmetry.shape)
    signal = float(np.abs(found.products @ found.directions.T).max())
    fault = "the derivative of the forces is not symmetric: they are the slope of no energy"
    if found.each:
        fault += f"; most between {places(subject.atoms, np.unique([a // 3, b // 3]))}"
    return judged(SYMMETRIC, subject.name, float(asymmetry[a, b]), float(allowed[a, b]), signal, "eV/Å²", fault)


def _balanced(subject: Subject, found: Slopes) -> Finding:
    atoms = subject.atoms
    n = len(atoms)
    tolerance = subject.force_tolerance * math.sqrt(n)
    answers = [subject.answer, *found.answers]
    total = max(float(np.abs(a.forces.sum(0)).max()) for a in answers)
    signal = max(float(np.abs(a.forces).max()) for a in answers)
    if not total <= tolerance or atoms.pbc.any():
        fault = "forces do not sum to zero: what acts on one atom is missing on another, or something outside acts"
        return judged(BALANCED, subject.name, total, tolerance, signal, "eV/Å", fault)
    arms = atoms.positions - atoms.positions.mean(0)
    torque = float(np.abs(np.cross(arms, subject.answer.forces).sum(0)).max())
    fault = "torques do not sum to zero: the energy depends on the orientation"
    return judged(BALANCED, subject.name, torque, tolerance * subject.reach, signal * subject.reach, "eV", fault)


def _own_hessian(subject: Subject, found: Slopes) -> Finding:
    own = subject.engine.hessian(subject.atoms)
    if own is None:
        return not_run(OWN_HESSIAN, subject.name, "the engine gives no Hessian")
    allowed = CHANCE * found.product_bar + max(ASYMMETRY, subject.accuracy) * np.abs(found.products).max()
    products = found.directions @ own
    errors = np.abs(products - found.products) / allowed
    a, b = np.unravel_index(np.argmax(np.nan_to_num(errors, nan=np.inf)), errors.shape)
    error, signal = float(abs(products - found.products)[a, b]), float(np.abs(found.products).max())
    fault = ""
    if not error <= allowed[a, b]:
        fault = _what_is_wrong_with(own, subject.atoms, found, allowed)
    return judged(OWN_HESSIAN, subject.name, error, float(allowed[a, b]), signal, "eV/Å²", fault)


def _what_is_wrong_with(own: np.ndarray, atoms: Atoms, found: Slopes, allowed: np.ndarray) -> str:
    if factor := named_factor((found.directions @ own).ravel(), found.products.ravel()):
        return f"the Hessian is {factor}"
    if not found.each:
        return "the Hessian is not the slope of the forces"
    wrong = np.abs(own - found.products) > allowed
    rows, columns = (np.flatnonzero(wrong.any(1)), np.flatnonzero(wrong.any(0)))
    lines, kind = min((rows, "row"), (columns, "column"), key=lambda each: len(each[0]))
    named = ", ".join(f"{'xyz'[k % 3]} of {places(atoms, [k // 3])}" for k in lines[:3])
    return f"the Hessian is not the slope of the forces in {len(lines)} {kind}{'s' * (len(lines) > 1)}: {named}"
