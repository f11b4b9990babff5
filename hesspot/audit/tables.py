"""An audit for the terminal: for each engine a table of checks and structures, and what failed in words."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hesspot.audit.findings import Finding
from hesspot.audit.report import AuditReport, counted

MARKS = {"PASS": Text("ok", style="green"), "FAIL": Text("FAIL", style="bold red"), "NOT RUN": Text("–", style="dim")}


def tables(report: AuditReport) -> RenderableType:
    parts: list[RenderableType] = []
    for engine in report.engines:
        parts += _part(f"{engine.name} by itself ({engine.seconds:.0f} s)", engine.findings)
    for pair in report.comparisons:
        parts += _part(f"{pair.second} against {pair.first}", pair.findings)
    verdict = "No check failed." if report.passed else "Checks failed."
    return Group(*parts, Text(verdict, style="green" if report.passed else "bold red"))


def _part(title: str, findings: Sequence[Finding]) -> list[RenderableType]:
    counts = counted(list(findings))
    words = f"{title}: {counts['PASS']} passed, {counts['FAIL']} failed, {counts['NOT RUN']} not run"
    structures = list(dict.fromkeys(finding.structure for finding in findings))
    table = Table(title=words, title_justify="left")
    table.add_column("check")
    for name in structures:
        table.add_column(name, justify="center")
    for check in dict.fromkeys(finding.check for finding in findings):
        row = {finding.structure: MARKS[finding.verdict] for finding in findings if finding.check == check}
        table.add_row(check, *(row.get(name, Text("")) for name in structures))
    return [table, *_in_words(findings), Text("")]


def _in_words(findings: Sequence[Finding]) -> list[Text]:
    """Each failure, and once each reason for which something was not run."""
    lines = [
        Text(f"FAIL {f.check}, {f.structure}: {sentence(f)}", style="red") for f in findings if f.verdict == "FAIL"
    ]
    reasons: dict[tuple[str, str], list[str]] = {}
    for f in findings:
        if f.verdict == "NOT RUN":
            reasons.setdefault((f.check, f.note), []).append(f.structure)
    lines += [
        Text(f"not run: {check} ({', '.join(where)}): {why}", style="dim") for (check, why), where in reasons.items()
    ]
    return lines


def sentence(finding: Finding) -> str:
    """What is wrong, with its number and what is allowed."""
    if finding.error is None or finding.tolerance is None:
        return finding.note
    return f"{finding.note} (off by {finding.error:.2e}, allowed {finding.tolerance:.1e} {finding.unit})".replace(
        " )", ")"
    )
