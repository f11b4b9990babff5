"""A verification as two tables for the terminal: deployment error and model error."""

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hesspot.accuracy.table import LEGEND, model_error_rows
from hesspot.data import PART_NAMES
from hesspot.verification import tolerances
from hesspot.verification.engines import ENGINES
from hesspot.verification.report import EngineReport, VerifyReport

#: Columns of the deployment table: quantity, heading.
QUANTITIES = {
    "energy": "energy\neV/atom",
    "forces": "forces\neV/Å",
    "virial": "virial\neV",
    "Hessian": "Hessian\neV/Å²",
    "H·v": "H·v\neV/Å²",
    "frequencies": "freq.\ncm⁻¹",
    "zero-point energy": "ZPE\neV",
    "modes": "modes\n1−ovl.",
}


def deployment_table(report: VerifyReport) -> RenderableType:
    """Largest deviation of each engine from the trained model in float64."""
    table = Table(
        title=f"Deployment error: engine against trained model (float64), worst of {len(report.structures)} "
        f"structure{'s' if len(report.structures) != 1 else ''}",
        title_justify="left",
    )
    table.add_column("engine")
    shown = [name for name in QUANTITIES if name != "H·v" or any(engine.check(name) for engine in report.engines)]
    for name in shown:
        table.add_column(QUANTITIES[name], justify="right")
    table.add_column("time\ns", justify="right")
    table.add_column("")
    for engine in report.engines:
        cells = [_cell(engine, quantity) for quantity in shown]
        table.add_row(engine.label, *cells, f"{engine.seconds:.1f}", _verdict(engine.passed))
    table.add_section()
    limits = {
        "energy": tolerances.ENERGY,
        "forces": tolerances.FORCES,
        "virial": tolerances.VIRIAL,
        "frequencies": tolerances.FREQUENCIES,
        "zero-point energy": tolerances.ZERO_POINT_ENERGY,
        "modes": tolerances.OVERLAP,
    }
    for text, hessian in (
        ("tolerance", tolerances.HESSIAN_ANALYTIC),
        ("… numerical", tolerances.HESSIAN_NUMERICAL),
    ):
        if any((ENGINES[engine.engine].hessian_tolerance == hessian) for engine in report.engines):
            table.add_row(text, *(f"{limits.get(name, hessian):.0e}" for name in shown), style="dim")
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
    name = trained.label[0].upper() + trained.label[1:]
    notes = [Text.assemble(f"{name} against its stored fingerprint: ", parts, " ", _verdict(trained.passed))]
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


def model_error_table(report: VerifyReport) -> RenderableType:
    """Errors of the trained model against the reference, by group of structures."""
    if not report.model_errors:
        return Text(f"No model error: {report.source} holds no reference values; give a dataset with --data.")
    head, *rows = model_error_rows(report.model_errors)
    table = Table(
        title=f"Model error{_of_parts(report)}: trained model against reference ({report.level_of_theory}), "
        f"{report.source}",
        title_justify="left",
        caption=LEGEND,
        caption_justify="left",
    )
    table.add_column(head[0], no_wrap=True)
    for group in head[1:]:
        table.add_column(group, justify="right")
    for row in rows:
        table.add_row(*row)
    if not report.parts.get("train"):
        return table
    caution = "Training structures are among these: errors of new ones are larger. Give held-out data with --data."
    return Group(table, Text(caution, style="bold yellow"))


def _of_parts(report: VerifyReport) -> str:
    """Of which parts of the data the structures are, as far as that is known."""
    named = [f"{report.parts[part]} {name}" for part, name in PART_NAMES.items() if part in report.parts]
    if unknown := report.parts.get(""):
        named.append(f"{unknown} of a part that the file does not tell")
    return f" of {', '.join(named)}" if named else ""


def dynamics_table(report: VerifyReport) -> RenderableType:
    """Runs against what is known of them."""
    table = Table(title="Runs of the engines against what is known exactly", title_justify="left")
    for heading in ("engine", "quantity", "found", "expected", "may differ by", ""):
        table.add_column(heading, justify="right" if heading[:1] in ("f", "m") or heading == "expected" else "left")
    notes = []
    for check in report.dynamics:
        numbers = [f"{value:.6g}" for value in (check.found, check.expected, check.tolerance)]
        quantity = f"{check.quantity}, {check.unit}" if check.unit else check.quantity
        table.add_row(check.engine, quantity, *numbers, _verdict(check.passed))
        notes.append(Text(f"{check.engine}, {check.quantity}: {check.note}", style="dim" if check.passed else "red"))
    return Group(table, *notes, "")


def tables(report: VerifyReport) -> Any:
    """Both tables and the verdict."""
    verdict = Text.assemble(
        ("All deployment errors are within their tolerances.", "green")
        if report.passed
        else ("Errors are beyond their tolerances, or an engine failed.", "bold red")
    )
    runs = [dynamics_table(report)] if report.dynamics else []
    return Group(deployment_table(report), "", *runs, model_error_table(report), "", verdict)
