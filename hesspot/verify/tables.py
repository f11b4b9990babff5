"""A verification as two tables for the terminal: deployment error and model error."""

import math
from collections.abc import Callable
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hesspot.verify import tolerances
from hesspot.verify.engines import ENGINES
from hesspot.verify.report import EngineReport, Errors, ModelErrors, VerifyReport

#: Columns of the deployment table: quantity, heading.
QUANTITIES = {
    "energy": "energy\neV/atom",
    "forces": "forces\neV/Å",
    "virial": "virial\neV",
    "Hessian": "Hessian\neV/Å²",
    "frequencies": "freq.\ncm⁻¹",
}


def deployment_table(report: VerifyReport) -> RenderableType:
    """Largest deviation of each engine from the trained model in float64."""
    table = Table(
        title=f"Deployment error: engine against trained model (float64), worst of {len(report.structures)} "
        f"structure{'s' if len(report.structures) != 1 else ''}",
        title_justify="left",
    )
    table.add_column("engine")
    for heading in QUANTITIES.values():
        table.add_column(heading, justify="right")
    table.add_column("time\ns", justify="right")
    table.add_column("")
    for engine in report.engines:
        cells = [_cell(engine, quantity) for quantity in QUANTITIES]
        table.add_row(engine.label, *cells, f"{engine.seconds:.1f}", _verdict(engine.passed))
    table.add_section()
    limits = [tolerances.ENERGY, tolerances.FORCES, tolerances.VIRIAL]
    for text, hessian in (
        ("tolerance", tolerances.HESSIAN_ANALYTIC),
        ("… numerical", tolerances.HESSIAN_NUMERICAL),
    ):
        if any((ENGINES[engine.engine].hessian_tolerance == hessian) for engine in report.engines):
            table.add_row(text, *(f"{x:.0e}" for x in (*limits, hessian)), f"{tolerances.FREQUENCIES:g}", style="dim")
    return Group(table, *_notes(report))


def _cell(engine: EngineReport, quantity: str) -> Text:
    check = engine.check(quantity)
    if check is None:
        return Text("–", style="dim" if engine.failure is None else "red")
    return Text(f"{check.error:.1e}", style="green" if check.passed else "bold red")


def _verdict(passed: bool) -> Text:
    return Text("ok", style="green") if passed else Text("FAIL", style="bold red")


def _notes(report: VerifyReport) -> list[Text]:
    trained = report.trained_model
    parts = ", ".join(f"{check.quantity} {check.error:.1e} {check.unit}" for check in trained.checks)
    notes = [Text.assemble("Trained model against its stored fingerprint: ", parts, " ", _verdict(trained.passed))]
    for engine in report.engines:
        if engine.failure is not None:
            notes.append(Text(f"{engine.label} could not be compared: {engine.failure}", style="red"))
        elif engine.check("virial") is None:
            notes.append(Text(f"{engine.label} gives no virial of structures without a cell.", style="dim"))
        notes += [
            Text(
                f"{engine.label}: {check.quantity} of {check.structure} off by {check.error:.2e} {check.unit}, more "
                f"than {check.tolerance:g}",
                style="red",
            )
            for check in engine.checks
            if not check.passed
        ]
    soft = max((engine.soft_modes for engine in report.engines), default=0)
    if soft:
        notes.append(
            Text(f"Modes below {tolerances.SOFT_MODE:g} cm⁻¹ ({soft}) are judged by the Hessian alone.", style="dim")
        )
    return notes


def number(value: float) -> str:
    """Three significant digits at most four decimals, without an exponent."""
    if not math.isfinite(value) or value == 0.0:
        return f"{value:g}"
    decimals = min(4, max(0, 2 - math.floor(math.log10(abs(value)))))
    return f"{value:.{decimals}f}"


def _mae_rmse(errors: Errors | None, factor: float = 1.0) -> str:
    return "–" if errors is None else f"{number(errors.mae * factor)} / {number(errors.rmse * factor)}"


def _mae_max(errors: Errors | None, factor: float = 1.0) -> str:
    return "–" if errors is None else f"{number(errors.mae * factor)} / {number(errors.max * factor)}"


def _imaginary(errors: ModelErrors) -> str:
    if errors.imaginary_right is None or errors.imaginary_wrong is None:
        return "–"
    return f"{errors.imaginary_right} of {errors.imaginary_right + errors.imaginary_wrong}"


def _overlap(errors: ModelErrors) -> str:
    if errors.mode_overlap_mean is None:
        return "–"
    return f"{errors.mode_overlap_mean:.3f} / {errors.mode_overlap_min:.3f}"


#: Rows of the model-error table; what the pairs of numbers are is said by `LEGEND`.
ROWS: dict[str, Callable[[ModelErrors], str]] = {
    "structures": lambda e: str(e.n_structures),
    "energy, meV": lambda e: _mae_rmse(e.energy, 1e3),
    "energy, meV/atom": lambda e: _mae_rmse(e.energy_per_atom, 1e3),
    "forces, meV/Å": lambda e: _mae_rmse(e.forces, 1e3),
    "Hessian, eV/Å²": lambda e: _mae_rmse(e.hessian),
    "Hessian, kcal/mol/Å²": lambda e: _mae_rmse(e.hessian_kcal),
    "frequencies, cm⁻¹ *": lambda e: _mae_max(e.frequencies),
    "… below 400 cm⁻¹ *": lambda e: _mae_max(e.frequencies_below_400),
    "… above 400 cm⁻¹ *": lambda e: _mae_max(e.frequencies_above_400),
    "zero-point energy, meV *": lambda e: _mae_max(e.zero_point_energy, 1e3),
    "imaginary modes right": _imaginary,
    "|cos v₁| of lowest mode †": _overlap,
}
LEGEND = "MAE / RMSE;  * MAE / largest;  † mean / smallest at saddle points"


def model_error_rows(errors: list[ModelErrors]) -> list[list[str]]:
    """Heading and one cell per group for each row that says something; the first row holds the groups' names.

    For terminal and report alike; `LEGEND` belongs below it.
    """
    rows = [["", *(group.group for group in errors)]]
    for heading, cell in ROWS.items():
        cells = [cell(group) for group in errors]
        if any(text != "–" for text in cells):
            rows.append([heading, *cells])
    return rows


def model_error_table(report: VerifyReport) -> RenderableType:
    """Errors of the trained model against the reference, by group of structures."""
    if not report.model_errors:
        return Text(f"No model error: {report.source} holds no reference values; give a dataset with --data.")
    head, *rows = model_error_rows(report.model_errors)
    table = Table(
        title=f"Model error: trained model against reference ({report.level_of_theory}), {report.source}",
        title_justify="left",
        caption=LEGEND,
        caption_justify="left",
    )
    table.add_column(head[0], no_wrap=True)
    for group in head[1:]:
        table.add_column(group, justify="right")
    for row in rows:
        table.add_row(*row)
    return table


def tables(report: VerifyReport) -> Any:
    """Both tables and the verdict."""
    verdict = Text.assemble(
        ("All deployment errors are within their tolerances.", "green")
        if report.passed
        else ("Deployment errors are beyond their tolerances, or an engine failed.", "bold red")
    )
    return Group(deployment_table(report), "", model_error_table(report), "", verdict)
