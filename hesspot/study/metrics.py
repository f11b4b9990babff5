"""From errors of structures to the numbers of the comparison: per run, over seeds, and paired tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import wilcoxon

from hesspot.accuracy.model_errors import SOFT
from hesspot.study.evaluate import PARTS, Evaluation, StructureErrors
from hesspot.units import KCAL_PER_MOL


@dataclass(frozen=True)
class Metric:
    """What a number says: the part of the test, the quantity, how errors are put together, and the unit."""

    part: str
    quantity: str
    statistic: str
    unit: str


#: Metrics of which more is better: no error, so no reduction.
COUNTS = ("right", "wrong", "mean")


def metrics_of(evaluation: Evaluation) -> dict[Metric, float]:
    """All metrics of one run. RMSE and MAE are over all components of all structures of a part.

    What a part has no labels for is left out.
    """
    found: dict[Metric, float] = {}
    for part in PARTS:
        members = [errors for errors in evaluation.structures if errors.part == part]
        energies = [(e.energy_error, e.n_atoms) for e in members if e.energy_error is not None]
        if energies:
            error, atoms = (np.array(column, dtype=float) for column in zip(*energies, strict=True))
            for unit, values in (("meV/atom", 1e3 * error / atoms), ("kcal/mol", error / KCAL_PER_MOL)):
                found[Metric(part, "energy", "RMSE", unit)] = float(np.sqrt((values**2).mean()))
                found[Metric(part, "energy", "MAE", unit)] = float(np.abs(values).mean())
        forces = [(e.force_rmse, e.force_mae, 3 * e.n_atoms) for e in members if e.force_rmse is not None]
        curvature = [(e.hessian_rmse, e.hessian_mae, 9 * e.n_atoms**2) for e in members if e.hessian_rmse is not None]
        for quantity, rows, units in (
            ("force", forces, {"meV/Å": 1e3}),
            ("Hessian", curvature, {"eV/Å²": 1.0, "kcal/mol/Å²": 1.0 / KCAL_PER_MOL}),
        ):
            if rows:
                rmse, mae, weights = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
                for unit, factor in units.items():
                    pooled = float(np.sqrt(np.average(rmse**2, weights=weights)))
                    found[Metric(part, quantity, "RMSE", unit)] = factor * pooled
                    found[Metric(part, quantity, "MAE", unit)] = factor * float(np.average(mae, weights=weights))
    found |= _vibrations(evaluation)
    if evaluation.barriers:
        errors = np.array([barrier.model - barrier.reference for barrier in evaluation.barriers]) / KCAL_PER_MOL
        found[Metric("reactions", "barrier height", "MAE", "kcal/mol")] = float(np.abs(errors).mean())
        found[Metric("reactions", "barrier height", "RMSE", "kcal/mol")] = float(np.sqrt((errors**2).mean()))
    return found


def _vibrations(evaluation: Evaluation) -> dict[Metric, float]:
    found = {}
    for part, kind in (("minima", "minimum"), ("saddles", "saddle")):
        own = [frequency for frequency in evaluation.frequencies if frequency.kind == kind]
        for quantity, soft in ((f"frequencies below {SOFT:g} cm⁻¹", True), (f"frequencies above {SOFT:g} cm⁻¹", False)):
            errors = [abs(f.model - f.reference) for f in own if (abs(f.reference) < SOFT) == soft]
            if errors:
                found[Metric(part, quantity, "MAE", "cm⁻¹")] = float(np.mean(errors))
        counted = [e for e in evaluation.structures if e.kind == kind and e.n_imaginary is not None]
        if counted:
            right = sum(e.n_imaginary == e.n_imaginary_reference for e in counted)
            found[Metric(part, "number of imaginary modes", "right", f"of {len(counted)}")] = float(right)
            found[Metric(part, "number of imaginary modes", "wrong", f"of {len(counted)}")] = float(
                len(counted) - right
            )
    overlaps = [e.overlap for e in evaluation.structures if e.overlap is not None]
    if overlaps:
        found[Metric("saddles", "overlap |cos v₁|", "mean", "")] = float(np.mean(overlaps))
    return found


#: A run: arm, fraction, seed.
RunKey = tuple[str, float, int]


@dataclass(frozen=True)
class Result:
    """One metric of one run: a line of results.csv."""

    arm: str
    fraction: float
    seed: int
    part: str
    quantity: str
    statistic: str
    unit: str
    value: float


def results_of(evaluations: Mapping[RunKey, Evaluation]) -> list[Result]:
    """All metrics of all runs."""
    return [
        Result(*key, metric.part, metric.quantity, metric.statistic, metric.unit, value)
        for key, evaluation in evaluations.items()
        for metric, value in metrics_of(evaluation).items()
    ]


@dataclass(frozen=True)
class Summary:
    """One metric of one arm and fraction over its seeds: a line of summary.csv.

    spread: standard deviation over seeds, None for one seed. change, change_spread: of value / reference's value − 1
    in per cent, of runs with the same seed; None for the reference itself and for counts.
    """

    arm: str
    fraction: float
    part: str
    quantity: str
    statistic: str
    unit: str
    seeds: int
    mean: float
    spread: float | None
    change: float | None
    change_spread: float | None


def summarise(results: Iterable[Result], reference: str) -> list[Summary]:
    """Mean and spread over seeds, and the change against the reference arm with the same fraction and seeds."""
    values: dict[tuple[str, float, Metric], dict[int, float]] = {}
    for r in results:
        metric = Metric(r.part, r.quantity, r.statistic, r.unit)
        values.setdefault((r.arm, r.fraction, metric), {})[r.seed] = r.value
    lines = []
    for (arm, fraction, metric), own in values.items():
        base = {} if arm == reference or metric.statistic in COUNTS else values.get((reference, fraction, metric), {})
        changes = [100.0 * (own[seed] / base[seed] - 1.0) for seed in own if base.get(seed)]
        lines.append(
            Summary(
                arm,
                fraction,
                metric.part,
                metric.quantity,
                metric.statistic,
                metric.unit,
                len(own),
                float(np.mean(list(own.values()))),
                _spread(list(own.values())),
                float(np.mean(changes)) if changes else None,
                _spread(changes),
            )
        )
    return lines


def _spread(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


#: Errors of single structures that are compared in pairs: quantity, unit, value.
PAIRED: dict[str, tuple[str, Callable[[StructureErrors], float | None]]] = {
    "energy": (
        "meV/atom",
        lambda e: None if e.energy_error is None else 1e3 * abs(e.energy_error) / e.n_atoms,
    ),
    "force": ("meV/Å", lambda e: None if e.force_rmse is None else 1e3 * e.force_rmse),
    "Hessian": ("eV/Å²", lambda e: e.hessian_rmse),
}


@dataclass(frozen=True)
class PairedTest:
    """An arm against the reference, structure by structure: a line of tests.csv.

    Errors of a structure (|ΔE|/n, RMSE of its forces, RMSE of its Hessian) are averaged over the seeds that both arms
    have. difference: mean of arm − reference; spread: standard deviation of that mean over seeds; better: structures
    on which the arm's error is smaller; p: of the two-sided Wilcoxon signed-rank test over structures.
    """

    arm: str
    fraction: float
    part: str
    quantity: str
    unit: str
    seeds: int
    structures: int
    difference: float
    spread: float | None
    better: int
    p: float


def paired_tests(evaluations: Mapping[RunKey, Evaluation], reference: str) -> list[PairedTest]:
    """Every arm against the reference for each fraction, part and quantity that both have."""
    tests = []
    for arm, fraction in dict.fromkeys((arm, fraction) for arm, fraction, _ in evaluations if arm != reference):
        seeds = [s for a, f, s in evaluations if (a, f) == (arm, fraction) and (reference, f, s) in evaluations]
        for part in PARTS:
            for quantity, (unit, value) in PAIRED.items():
                pairs = [
                    (
                        _of_structures(evaluations[arm, fraction, seed], part, value),
                        _of_structures(evaluations[reference, fraction, seed], part, value),
                    )
                    for seed in seeds
                ]
                if not pairs or not pairs[0][0]:
                    continue
                differences = np.array([[own[name] - other[name] for name in own] for own, other in pairs])
                per_structure = differences.mean(0)
                tests.append(
                    PairedTest(
                        arm,
                        fraction,
                        part,
                        quantity,
                        unit,
                        len(seeds),
                        len(per_structure),
                        float(differences.mean()),
                        _spread(list(differences.mean(1))),
                        int((per_structure < 0).sum()),
                        float(wilcoxon(per_structure).pvalue) if per_structure.any() else 1.0,
                    )
                )
    return tests


def _of_structures(
    evaluation: Evaluation, part: str, value: Callable[[StructureErrors], float | None]
) -> dict[str, float]:
    values = {errors.name: value(errors) for errors in evaluation.structures if errors.part == part}
    return {name: number for name, number in values.items() if number is not None}
