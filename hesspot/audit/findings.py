"""What a check found: a verdict with its numbers, and in words what is wrong and where."""

from __future__ import annotations

import math
from typing import Literal

from hesspot.settings import Strict

Verdict = Literal["PASS", "FAIL", "NOT RUN"]

#: A check whose quantity is not so many times its tolerance could not have failed, and has not run.
SIGNAL = 100.0


class Finding(Strict):
    """error, tolerance and signal (how large the quantity is that was looked at) in `unit`; note: what is wrong and
    where, or why the check did not run."""

    check: str
    structure: str
    verdict: Verdict
    error: float | None = None
    tolerance: float | None = None
    signal: float | None = None
    unit: str = ""
    note: str = ""


def judged(
    check: str, structure: str, error: float, tolerance: float, signal: float | None, unit: str, fault: str = ""
) -> Finding:
    """PASS, FAIL with the words of `fault`, or NOT RUN where nothing could have been seen. signal: None where a fault
    shows whatever the size."""
    verdict: Verdict = "PASS"
    note = ""
    if not error <= tolerance:
        verdict, note = "FAIL", fault
    elif signal is not None and not signal >= SIGNAL * tolerance:
        verdict = "NOT RUN"
        note = f"nothing to see: the quantity is {signal:.1e} {unit}, what is resolved {tolerance:.1e}"
    numbers = {"error": error, "tolerance": tolerance, "signal": signal}
    finite = {key: value for key, value in numbers.items() if value is not None and math.isfinite(value)}
    return Finding(check=check, structure=structure, verdict=verdict, unit=unit, note=note, **finite)


def not_run(check: str, structure: str, why: str) -> Finding:
    return Finding(check=check, structure=structure, verdict="NOT RUN", note=why)


def failed(check: str, structure: str, what: str) -> Finding:
    """A fault that is no number."""
    return Finding(check=check, structure=structure, verdict="FAIL", note=what)
