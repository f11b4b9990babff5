"""An audit as one page to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from hesspot.analysis.html_report import Report
from hesspot.analysis.normal_modes import normal_modes
from hesspot.analysis.plots import COLORS, figure_with_axes
from hesspot.audit.checks.gradient import Slopes
from hesspot.audit.consistency import Trial
from hesspot.audit.findings import Finding
from hesspot.audit.report import AuditReport, Comparison, counted
from hesspot.audit.tables import sentence

MARKS = {"ok": "good", "FAIL": "bad", "–": "dim"}
WORDS = {"PASS": "ok", "FAIL": "FAIL", "NOT RUN": "–"}

#: Structures whose spectra are drawn.
SPECTRA = 4


def write_page(path: str | Path, report: AuditReport, trials: Sequence[Trial]) -> None:
    """Tables, failures in words, forces against slopes, errors against steps, spectra, and modes that move."""
    page = Report(f"Audit of {', '.join(engine.name for engine in report.engines)}")
    page.text(_verdict(report))
    for engine, trial in zip(report.engines, trials, strict=True):
        page.section(f"{engine.name} by itself")
        page.text(f"`{engine.engine}`, {engine.seconds:.0f} s")
        _table(page, engine.findings)
        page.figure(_slopes(trial), "Forces against slopes of the energy, each coordinate of each structure.")
        words = "By how much differences of the energy are off the force, and how that falls with the step: a straight "
        page.figure(_steps(trial), words + "line of slope two down to the noise is what a smooth potential has.")
    for pair, trial in zip(report.comparisons, trials[1:], strict=True):
        page.section(f"{pair.second} against {pair.first}")
        _table(page, pair.findings)
        page.figure(_parity(trials[0], trial, pair), "Forces in both engines, each coordinate of each structure.")
        if any(modes.first for modes in pair.modes):
            page.figure(_spectra(pair), "Harmonic frequencies, matched by overlap of the modes.")
    _moving(page, trials[0], report.engines[0].name)
    page.write(path, alone=True)


def _verdict(report: AuditReport) -> str:
    lines = []
    for part in report.engines:
        lines.append((part.name, part.findings))
    for pair in report.comparisons:
        lines.append((f"{pair.second} against {pair.first}", pair.findings))
    texts = []
    for name, findings in lines:
        counts = counted(findings)
        failed = f"**{counts['FAIL']} failed**" if counts["FAIL"] else "none failed"
        texts.append(f"- {name}: {counts['PASS']} checks passed, {failed}, {counts['NOT RUN']} not run")
    made = ", ".join(f"{name} ({what})" for name, what in report.structures.items())
    return "\n".join(texts) + f"\n\nStructures: {made}. Accuracy {report.accuracy:g} of the largest force."


def _table(page: Report, findings: Sequence[Finding]) -> None:
    structures = list(dict.fromkeys(finding.structure for finding in findings))
    rows = []
    for check in dict.fromkeys(finding.check for finding in findings):
        marks = {finding.structure: WORDS[finding.verdict] for finding in findings if finding.check == check}
        rows.append([check, *(marks.get(name, "") for name in structures)])
    page.table(rows, ["check", *structures], marks=MARKS)
    failures = [finding for finding in findings if finding.verdict == "FAIL"]
    if failures:
        page.text("\n".join(f"- **{f.check}**, {f.structure}: {sentence(f)}" for f in failures))


def _slopes(trial: Trial) -> Figure:
    found: list[np.ndarray] = []
    right: list[np.ndarray] = []
    for subject in trial.subjects:
        slopes: Slopes | None = subject.measured.get("slopes")
        if slopes is not None and slopes.each:
            found.append(subject.answer.forces.ravel())
            right.append(-slopes.slope)
    return _scatter(right, found, "−∂E/∂x by differences, eV/Å", "force, eV/Å", "eV/Å")


def _parity(first: Trial, second: Trial, pair: Comparison) -> Figure:
    theirs = {subject.name: subject for subject in second.subjects}
    both = [(s, theirs[s.name]) for s in first.subjects if s.name in theirs]
    right, found = ([pick[k].answer.forces.ravel() for pick in both] for k in (0, 1))
    return _scatter(right, found, f"{pair.first}, eV/Å", f"{pair.second}, eV/Å", "eV/Å")


def _scatter(right: Sequence[np.ndarray], found: Sequence[np.ndarray], x: str, y: str, unit: str) -> Figure:
    figure, (axis,) = figure_with_axes(4.6, 4.3)
    if right:
        all_right, all_found = np.concatenate(right), np.concatenate(found)
        limit = 1.1 * max(float(np.abs(all_right).max()), float(np.abs(all_found).max()), 1e-6)
        axis.plot([-limit, limit], [-limit, limit], color="0.6", linewidth=0.8)
        axis.scatter(all_right, all_found, s=14, color=COLORS[0], alpha=0.5, linewidths=0)
        worst = float(np.abs(all_found - all_right).max())
        axis.text(0.04, 0.96, f"largest difference {worst:.1e} {unit}", transform=axis.transAxes, va="top")
    axis.set(xlabel=x, ylabel=y)
    return figure


def _steps(trial: Trial) -> Figure:
    figure, (axis,) = figure_with_axes(5.6, 4.0)
    curves = [(s.name, s.measured["steps"]) for s in trial.subjects if "steps" in s.measured]
    for color, (name, (steps, errors)) in zip(COLORS, curves, strict=False):
        axis.loglog(steps, np.maximum(errors, 1e-16), color=color, marker="o", markersize=3.5, label=name)
    axis.set(xlabel="step of a coordinate, Å", ylabel="difference less force, eV/Å")
    if curves:
        axis.legend(frameon=False, fontsize=9)
    return figure


def _spectra(pair: Comparison) -> Figure:
    shown = [modes for modes in pair.modes if modes.first][:SPECTRA]
    figure, axes = figure_with_axes(6.4, 3.2, 1)
    axis = axes[0]
    for row, modes in enumerate(shown):
        level = -2.4 * row
        axis.vlines(modes.first, level, level + 1, color=COLORS[0], label=pair.first if row == 0 else "")
        axis.vlines(modes.second, level - 1, level, color=COLORS[1], label=pair.second if row == 0 else "")
        axis.axhline(level, color="0.6", linewidth=0.8)
    axis.set_yticks([-2.4 * row for row in range(len(shown))], [modes.structure for modes in shown])
    axis.set_xlabel("frequency, cm⁻¹ (imaginary ones negative)")
    figure.legend(loc="outside upper left", frameon=False, ncols=2, fontsize=9)
    return figure


def _moving(page: Report, trial: Trial, engine: str) -> None:
    """The first structures whose Hessian was made from the engine's forces."""
    shown = 0
    for subject in trial.subjects:
        slopes: Slopes | None = subject.measured.get("slopes")
        if slopes is None or not slopes.each or shown == 2:
            continue
        if not shown:
            page.section("Modes that move")
        modes = normal_modes(subject.atoms, 0.5 * (slopes.products + slopes.products.T), subject.answer.masses)
        caption = f"{subject.name}, {subject.atoms.get_chemical_formula()}: normal modes by {engine}"
        page.modes(subject.atoms, modes.frequencies.tolist(), modes.displacements(), caption)
        shown += 1
