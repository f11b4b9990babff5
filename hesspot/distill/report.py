"""The page of a distillation: what each round added, and, of several arms, what curvature saves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hesspot.analysis.html_report import Report
from hesspot.distill import plots
from hesspot.distill.course import Course, Ending
from hesspot.distill.explore import deviations_of
from hesspot.distill.rounds import Round

FILE = "report.html"
#: Stages whose time the page tells, in their order.
STAGES = ("choose", "label", "train", "test", "run")
#: Points of a run that are drawn at most.
DRAWN = 1000


def columns_of(course: Course) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table of rounds."""
    keys = course.keys.test
    head = ["round", "structures", "force calls", "energy, meV/atom", "forces, eV/Å"]
    head += [
        name
        for name, asked in (
            ("phonons, THz", keys.phonons is not None),
            ("elastic, %", keys.elastic),
            ("frequencies, cm⁻¹", keys.frequencies),
        )
        if asked
    ]
    head += ["run, ps", "deviation, eV/Å", "time, s"]
    rows = []
    for each in course.rounds:
        errors = each.errors
        if errors is None:
            continue
        of = errors.properties
        refused = f" (+{len(each.refused)} refused)" if each.refused else ""
        cells = [str(each.number), f"{each.n_labelled}{refused}", str(course.calls_until(each))]
        cells += [f"{errors.energy:.3g}", f"{errors.forces:.3g}"]
        for value, asked, factor in (
            (of.phonons, keys.phonons is not None, 1.0),
            (of.elastic, keys.elastic, 100.0),
            (of.frequencies, keys.frequencies, 1.0),
        ):
            if asked:
                cells.append("" if value is None else f"{factor * value:.3g}")
        outcomes = each.outcomes
        cells.append(", ".join(f"{outcome.picoseconds:.3g}" for outcome in outcomes))
        cells.append(f"{max((outcome.deviation for outcome in outcomes), default=0.0):.3g}")
        cells.append(f"{sum(each.seconds.values()):.0f}")
        rows.append(cells)
    return head, rows


def write_report(course: Course, ending: Ending | None) -> Path:
    """The page of one distillation; without an ending, of one that goes on."""
    keys, folder = course.keys, course.folder
    report = Report(f"Distillation of {keys.teacher.level or keys.teacher.calculator}")
    report.text(ending.sentence if ending else "The loop goes on.")
    run = keys.run
    kelvin = f"{run.temperature:g} K" + (f" and {run.pressure:g} bar" if run.ensemble == "npt" else "")
    report.text(
        f"A run in LAMMPS must hold {run.length:g} ps ({run.ensemble.upper()}, {kelvin}) with members that differ by "
        f"{run.deviation:g} eV/Å at most, from each of {len(course.starts)} start structures, "
        f"{run.walkers} times. Labels of a structure: energy, forces, {keys.labels.products} Hessian products; "
        f"{keys.cost} force calls each. Errors are root mean squares on {len(course.test.labels)} test "
        f"structures, which took {course.test.calls} force calls of the teacher with all that is compared, not "
        "counted below."
    )
    report.section("Rounds")
    head, rows = columns_of(course)
    report.table(rows, head)
    _refused(report, course.rounds)
    judged = [each for each in course.rounds if each.errors is not None]
    if judged:
        points = [(course.calls_until(each), each.errors.forces) for each in judged if each.errors is not None]
        report.figure(plots.against_calls({"": points}, "force error, eV/Å"), "Test errors and force calls.", "errors")
        teacher, student = course.test.teacher, judged[-1].properties
        if teacher is not None and teacher.phonons is not None and student is not None:
            caption = f"Phonons of teacher and student (round {judged[-1].number})."
            report.figure(plots.bands(teacher, student), caption, "phonons")
        if teacher is not None and teacher.elastic is not None and student is not None and student.elastic is not None:
            _elastic(report, teacher.elastic, student.elastic)
        report.figure(
            plots.deviations(_runs(judged), run.deviation), "How far members are apart along the runs.", "deviation"
        )
        report.section("Time")
        report.table(
            [[str(each.number), *(f"{each.seconds.get(stage, 0.0):.1f}" for stage in STAGES)] for each in judged],
            ["round", *(f"{stage}, s" for stage in STAGES)],
        )
    return report.write(folder / FILE)[0]


def _refused(report: Report, rounds: Sequence[Round]) -> None:
    told = [f"- `{name}`: {reason}" for each in rounds for name, reason in each.refused]
    if told:
        report.text("Refused by the teacher, and kept in the rounds' `labels.refused.xyz`:")
        report.text("\n".join(told))


def _elastic(report: Report, teacher: list[list[float]], student: list[list[float]]) -> None:
    rows = [
        [f"C{i + 1}{j + 1}", f"{teacher[i][j]:.2f}", f"{student[i][j]:.2f}"]
        for i in range(6)
        for j in range(i, 6)
        if abs(teacher[i][j]) > 0.01 * float(np.abs(teacher).max())
    ]
    report.table(rows, ["", "teacher, GPa", "student, GPa"], "Elastic constants")


def _runs(rounds: Sequence[Round]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    found = {}
    for each in rounds:
        for outcome in each.outcomes:
            told = deviations_of(each.folder / f"run-{outcome.start}-{outcome.walker}")
            if len(told):
                told = told[:: max(1, -(-len(told) // DRAWN))]
                name = f"round {each.number}" + (
                    "" if len(each.outcomes) == 1 else f", {outcome.start}-{outcome.walker}"
                )
                found[name] = 1e-3 * outcome.timestep * told[:, 0], told[:, 2]
    return found


def write_comparison(folder: Path, arms: dict[str, tuple[Course, Ending]]) -> Path:
    """The page of several arms: the same errors against the teacher's force calls."""
    report = Report("Distillations compared")
    rows = []
    for name, (arm, ending) in arms.items():
        rows += [[name, *cells] for cells in columns_of(arm)[1]]
        report.text(f"**{name}**: {ending.sentence}. Page: `arms/{arm.folder.name}/{FILE}`.")
    first = next(iter(arms.values()))[0]
    report.table(rows, ["arm", *columns_of(first)[0]])
    curves = {
        name: [(arm.calls_until(each), each.errors.forces) for each in arm.rounds if each.errors is not None]
        for name, (arm, _) in arms.items()
    }
    report.figure(plots.against_calls(curves, "force error, eV/Å"), "Test errors and force calls.", "errors")
    phonons = {
        name: [
            (arm.calls_until(each), each.errors.properties.phonons)
            for each in arm.rounds
            if each.errors is not None and each.errors.properties.phonons is not None
        ]
        for name, (arm, _) in arms.items()
    }
    if all(phonons.values()):
        report.figure(plots.against_calls(phonons, "phonon error, THz"), "Phonons and force calls.", "phonons")
    return report.write(folder / FILE)[0]
