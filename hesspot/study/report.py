"""Writes a study's comparison from the evaluations in its folder: CSV, Markdown, figures."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from hesspot.errors import UserError
from hesspot.files import write_atomically
from hesspot.study import plots
from hesspot.study.cost import read_cost
from hesspot.study.csv_tables import write_rows
from hesspot.study.evaluate import Evaluation, is_evaluated, read_evaluation
from hesspot.study.metrics import PairedTest, Result, Summary, paired_tests, results_of, summarise
from hesspot.study.run import Study
from hesspot.study.tables import (
    Lookup,
    Table,
    changes_table,
    cost_table,
    errors_table,
    fractions_table,
    tests_table,
    vibrations_table,
)


@dataclass(frozen=True)
class StudyReport:
    """What was written: the tables in their order, and the runs that were not finished."""

    tables: list[Table]
    missing: list[str]
    path: Path


def write_report(study: Study) -> StudyReport:
    """Write results.csv, summary.csv, tests.csv, report.md and the figures from the finished runs of a study.

    UserError if no run of the reference arm is finished.
    """
    folder, reference = study.folder, study.config.keys.reference
    evaluations = {
        (job.arm, job.fraction, job.seed): read_evaluation(job.folder) for job in study.jobs if is_evaluated(job.folder)
    }
    missing = [job.label for job in study.jobs if not is_evaluated(job.folder)]
    if not any(arm == reference for arm, _, _ in evaluations):
        raise UserError(f"no run of the arm {reference} is finished in {folder}; run the study, with --resume if begun")
    results = results_of(evaluations)
    summaries = summarise(results, reference)
    tests = paired_tests(evaluations, reference)
    write_rows(folder / "results.csv", Result, results)
    write_rows(folder / "summary.csv", Summary, summaries)
    write_rows(folder / "tests.csv", PairedTest, tests)

    found = Lookup(summaries)
    arms = [name for name in study.config.arms if any(arm == name for arm, _, _ in evaluations)]
    largest = max(fraction for arm, fraction, _ in evaluations if arm == reference)
    shown = [arm for arm in arms if any((a, f) == (arm, largest) for a, f, _ in evaluations)]
    sizes = _sizes(study, sorted({fraction for _, fraction, _ in evaluations}))
    costs = read_cost(folder)
    tables = [
        changes_table(found, shown, reference, largest),
        errors_table(found, shown, largest),
        vibrations_table(found, shown, largest),
        tests_table(tests, reference, largest),
        *([fractions_table(found, arms, sizes)] if len(sizes) > 1 else []),
        *([cost_table(costs, reference)] if costs else []),
    ]
    figures: dict[str, tuple[Figure, str]] = {}
    if len(shown) > 1:
        figures["changes"] = (
            plots.changes(found, shown, reference, largest),
            "RMSE divided by the reference's: left of the line is better.",
        )
    pairs = _frequencies(evaluations, shown, largest)
    if any(pairs.values()):
        figures["frequencies"] = (plots.frequencies(pairs), "Harmonic frequencies, all seeds.")
    if len(sizes) > 1:
        figures["learning"] = (
            plots.learning(found, arms, sizes),
            "RMSE and the number of training structures, of the arms with several.",
        )
    if costs and any(cost.arm == reference for cost in costs):
        figures["cost"] = (plots.cost(costs, arms, reference), "What an epoch costs.")
    for name, (figure, _) in figures.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
        write_atomically(folder / f"{name}.png", buffer.getvalue())
    parts = [
        f"# Study: {study.config.data}",
        _setup(study, largest, missing),
        *(table.markdown() for table in tables if table.rows),
        *(f"![{caption}]({name}.png)" for name, (_, caption) in figures.items()),
    ]
    path = folder / "report.md"
    write_atomically(path, ("\n\n".join(parts) + "\n").encode("utf-8"))
    return StudyReport([table for table in tables if table.rows], missing, path)


def _sizes(study: Study, fractions: list[float]) -> dict[float, float]:
    """Mean number of training structures of each fraction over the seeds."""
    return {
        fraction: float(
            np.mean([len(study.subset(fraction, seed)[1].select(part="train")) for seed in study.config.keys.seeds])
        )
        for fraction in fractions
    }


def _frequencies(
    evaluations: dict[tuple[str, float, int], Evaluation], arms: list[str], fraction: float
) -> dict[str, list]:
    return {
        arm: [pair for (a, f, _), e in evaluations.items() if (a, f) == (arm, fraction) for pair in e.frequencies]
        for arm in arms
    }


def _setup(study: Study, fraction: float, missing: list[str]) -> str:
    keys, dataset = study.config.keys, study.dataset
    seeds = ", ".join(str(seed) for seed in keys.seeds)
    parts = []
    for part in ("train", "valid", "test"):
        kinds = Counter(record.kind for record in dataset.select(part=part))
        parts.append(f"{part}: {', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items())) or 'none'}")
    lines = [
        f"{study.config.data}, {dataset.level_of_theory}. Structures: {'; '.join(parts)}. Seeds {seeds}. "
        f"Tables are at the fraction {fraction:g} of the training systems. Test: stationary points of the part test; "
        "IRC: points on its reaction paths; NMS: its normal-mode samples.",
        *(f"- **{name}**: {_arm(study, name)}" for name in study.config.arms),
    ]
    if missing:
        lines.append(f"\n**Not finished: {'; '.join(missing)}.**")
    return lines[0] + "\n\n" + "\n".join(lines[1:])


def _arm(study: Study, name: str) -> str:
    config = next(job.config for job in reversed(study.jobs) if job.arm == name)
    text = f"mode {config.mode}, loss weights E {config.loss.energy:g}"
    if config.mode != "e":
        text += f", F {config.loss.forces:g}"
    if config.mode == "efh":
        text += f", H {config.loss.hessian:g} ({config.hessian.sampling}"
        text += ")" if config.hessian.sampling == "full" else f", {config.hessian.probes} per structure and step)"
    after = study.config.arms[name].after
    return text + (f", {config.optimizer.epochs} epochs" + (f", from {after}" if after else ""))
