"""What an audit found, as it is written to JSON."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Literal

from pydantic import Field

from hesspot.audit.findings import Finding, Verdict
from hesspot.files import write_atomically
from hesspot.settings import Strict
from hesspot.version import __version__

#: Version of the JSON layout.
REPORT_VERSION = 1


class EngineAudit(Strict):
    """One engine by itself. engine: as the user gave it; name: for tables."""

    engine: str
    name: str
    seconds: float
    findings: list[Finding]

    @property
    def passed(self) -> bool:
        return all(finding.verdict != "FAIL" for finding in self.findings)


class Modes(Strict):
    """Frequencies of one structure, cm⁻¹, in two engines, matched by overlap."""

    structure: str
    first: list[float]
    second: list[float]
    overlap: list[float]


class Comparison(Strict):
    """The second engine against the first."""

    first: str
    second: str
    findings: list[Finding]
    modes: list[Modes] = Field(default_factory=list)

    @property
    def passed(self) -> bool:
        return all(finding.verdict != "FAIL" for finding in self.findings)


class AuditReport(Strict):
    format: Literal["hesspot-audit"] = "hesspot-audit"
    format_version: int = REPORT_VERSION
    hesspot_version: str = __version__
    accuracy: float
    structures: dict[str, str]
    engines: list[EngineAudit]
    comparisons: list[Comparison]
    passed: bool = False

    def judge(self) -> AuditReport:
        """The same with `passed` set: no check failed."""
        passed = all(e.passed for e in self.engines) and all(c.passed for c in self.comparisons)
        return self.model_copy(update={"passed": passed})

    def write(self, path: str | Path) -> None:
        """As JSON; the file appears complete or not at all."""
        write_atomically(path, (self.model_dump_json(indent=2) + "\n").encode())


def counted(findings: list[Finding]) -> dict[Verdict, int]:
    """How many of each verdict."""
    found = Counter(finding.verdict for finding in findings)
    return {verdict: found[verdict] for verdict in ("PASS", "FAIL", "NOT RUN")}
