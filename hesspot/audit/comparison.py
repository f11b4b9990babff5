"""Two engines on the same structures: energies up to constants of the elements, forces, virials, Hessians, modes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from scipy.optimize import linear_sum_assignment

from hesspot.analysis.normal_modes import NormalModes, normal_modes
from hesspot.audit.checks.gradient import Slopes
from hesspot.audit.checks.strain import VOIGT
from hesspot.audit.consistency import Trial
from hesspot.audit.engines.base import Answer
from hesspot.audit.factors import named_factor, named_order
from hesspot.audit.findings import Finding, judged, not_run
from hesspot.audit.places import places
from hesspot.audit.subject import Subject
from hesspot.verification.tolerances import FREQUENCIES

ENERGIES = "energies agree up to constants of the elements"
FORCES = "forces agree"
VIRIALS = "virials agree"
HESSIANS = "Hessians agree"
MODES = "frequencies agree"

#: Of two engines, how well a multiple must fit: two potentials may be alike.
EXACTLY = 1e-4

ALL = "all structures"


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Modes of one structure in two engines: frequencies (m,) cm⁻¹ of the first, those of the second that belong to
    them by overlap, and the overlaps (m,)."""

    structure: str
    first: np.ndarray
    second: np.ndarray
    overlap: np.ndarray


def compare(first: Trial, second: Trial) -> tuple[list[Finding], list[Spectrum]]:
    """The second engine against the first."""
    theirs = {subject.name: subject for subject in second.subjects}
    pairs = [(mine, theirs[mine.name]) for mine in first.subjects if mine.name in theirs]
    if not pairs:
        return [not_run(ENERGIES, ALL, "there is no structure that both engines answer for")], []
    findings = [_energies(pairs)]
    spectra = []
    for mine, other in pairs:
        findings.append(_forces(mine, other))
        findings.append(_virials(mine, other))
        hessians, modes, spectrum = _curvature(mine, other)
        findings += [hessians, modes]
        if spectrum is not None:
            spectra.append(spectrum)
    return findings, spectra


def _energies(pairs: Sequence[tuple[Subject, Subject]]) -> Finding:
    """Energies of the structures and of those beside them, less a constant for each element, by least squares."""
    rows: list[tuple[Atoms, float, float]] = []
    owners: list[tuple[Subject, Subject]] = []
    for mine, other in pairs:
        for a, b in zip(_beside(mine), _beside(other), strict=False):
            rows.append((mine.atoms, a, b))
            owners.append((mine, other))
    elements = sorted({symbol for atoms, _, _ in rows for symbol in atoms.symbols})
    counts = np.array([[atoms.symbols.count(symbol) for symbol in elements] for atoms, _, _ in rows], dtype=float)
    of_mine, of_other = (np.array([row[k] for row in rows], dtype=float) for k in (1, 2))
    left_of_mine, left_of_other = (_less_constants(values, counts) for values in (of_mine, of_other))
    off = np.abs(_less_constants(of_other - of_mine, counts))
    worst = int(off.argmax())
    subject, partner = owners[worst]
    tolerance = subject.energy_tolerance + partner.energy_tolerance
    signal = float(np.abs(left_of_mine).max())
    fault = f"energies of {subject.name} differ by {off[worst]:.4g} eV"
    if named := named_factor(left_of_other, left_of_mine, EXACTLY):
        fault = f"energies are {named}"
    return judged(ENERGIES, ALL, float(off[worst]), tolerance, signal, "eV", fault)


def _beside(subject: Subject) -> list[float]:
    """Energies of the structure and of the one beside it."""
    beside: Answer | None = subject.measured.get("beside")
    return [subject.answer.energy] + ([] if beside is None else [beside.energy])


def _less_constants(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    constants, *_ = np.linalg.lstsq(counts, values, rcond=None)
    return np.asarray(values - counts @ constants)


def _forces(mine: Subject, other: Subject) -> Finding:
    found, right = other.answer.forces, mine.answer.forces
    off = np.abs(found - right).max(1)
    tolerance = mine.force_tolerance + other.force_tolerance
    fault = f"forces differ, most on {places(mine.atoms, [int(off.argmax())])}"
    if named := named_factor(found, right, EXACTLY):
        fault = f"forces are {named}"
    signal = float(np.abs(right).max())
    return judged(FORCES, mine.name, float(off.max()), tolerance, signal if len(off) > 1 else None, "eV/Å", fault)


def _virials(mine: Subject, other: Subject) -> Finding:
    if mine.answer.virial is None or other.answer.virial is None:
        who = mine.engine.name if mine.answer.virial is None else other.engine.name
        return not_run(VIRIALS, mine.name, f"{who} gives no virial of it")
    found, right = (np.array([v[a, b] for a, b in VOIGT]) for v in (other.answer.virial, mine.answer.virial))
    error = float(np.abs(other.answer.virial - mine.answer.virial).max())
    fault = "virials differ"
    if named := named_factor(found, right, EXACTLY):
        fault = f"the virial is {named}"
    elif order := named_order(found, right):
        fault = f"of the virial {order}"
    tolerance = mine.virial_tolerance + other.virial_tolerance
    return judged(VIRIALS, mine.name, error, tolerance, float(np.abs(right).max()), "eV", fault)


def _curvature(mine: Subject, other: Subject) -> tuple[Finding, Finding, Spectrum | None]:
    slopes: list[Slopes | None] = [subject.measured.get("slopes") for subject in (mine, other)]
    if slopes[0] is None or slopes[1] is None or not slopes[0].each:
        why = "no Hessian was made of it: it has one atom, or too many" if None in slopes else "it has too many atoms"
        return not_run(HESSIANS, mine.name, why), not_run(MODES, mine.name, why), None
    first, second = (0.5 * (s.products + s.products.T) for s in slopes if s is not None)
    error, size = float(np.abs(second - first).max()), float(np.abs(first).max())
    bars = sum(float(s.product_bar.max()) for s in slopes if s is not None)
    tolerance = 6 * bars + 10 * mine.accuracy * size
    fault = "Hessians differ"
    if named := named_factor(second, first, EXACTLY):
        fault = f"the Hessian is {named}"
    hessians = judged(HESSIANS, mine.name, error, tolerance, size, "eV/Å²", fault)
    modes = [_modes(subject, matrix) for subject, matrix in ((mine, first), (other, second))]
    spectrum = matched(mine.name, *modes)
    off = np.abs(spectrum.second - spectrum.first)
    worst = int(off.argmax()) if len(off) else 0
    fault = "no modes"
    if len(off):
        fault = (
            f"the mode of {spectrum.first[worst]:.1f} cm⁻¹ is at {spectrum.second[worst]:.1f} cm⁻¹, with an overlap of "
            f"{spectrum.overlap[worst]:.2f}"
        )
    signal = float(np.abs(spectrum.first).max(initial=0.0))
    finding = judged(MODES, mine.name, float(off.max(initial=0.0)), FREQUENCIES, signal, "cm⁻¹", fault)
    return hessians, finding, spectrum


def _modes(subject: Subject, hessian: np.ndarray) -> NormalModes:
    """With the masses that the engine moves its atoms with."""
    return normal_modes(subject.atoms, hessian, subject.answer.masses)


def matched(structure: str, first: NormalModes, second: NormalModes) -> Spectrum:
    """Modes that belong together: those whose overlaps sum to most."""
    overlap = np.abs(first.vectors @ second.vectors.T)
    rows, columns = linear_sum_assignment(-(overlap**2))
    return Spectrum(structure, first.frequencies[rows], second.frequencies[columns], overlap[rows, columns])
