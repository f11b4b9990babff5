"""What a verification found, as it is written to JSON."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from hesspot.accuracy.model_errors import ModelErrors
from hesspot.files import write_atomically
from hesspot.settings import Strict
from hesspot.version import __version__

#: Version of the JSON layout.
REPORT_VERSION = 1


class Check(Strict):
    """The worst deviation of one quantity over all structures, in the structure where it occurred."""

    quantity: str
    unit: str
    error: float
    tolerance: float
    structure: str
    n_structures: int

    @property
    def passed(self) -> bool:
        """False for NaN, too."""
        return self.error <= self.tolerance


class EngineReport(Strict):
    """Deployment error of one engine: against the trained model, rounding only."""

    engine: str
    ranks: int | None = None
    seconds: float
    checks: list[Check] = Field(default_factory=list)
    failure: str | None = None
    soft_modes: int = 0

    @property
    def label(self) -> str:
        """Name for tables and messages."""
        return self.engine if self.ranks is None else f"{self.engine} n={self.ranks}"

    @property
    def passed(self) -> bool:
        return self.failure is None and bool(self.checks) and all(check.passed for check in self.checks)

    def check(self, quantity: str) -> Check | None:
        """The check of one quantity, if it was made."""
        return next((check for check in self.checks if check.quantity == quantity), None)


class DynamicCheck(Strict):
    """A run of an engine against what is known of it. note: of what the numbers are."""

    engine: str
    quantity: str
    structure: str
    found: float
    expected: float
    tolerance: float
    unit: str
    note: str = ""

    @property
    def passed(self) -> bool:
        """False for NaN, too."""
        return abs(self.found - self.expected) <= self.tolerance


class VerifyReport(Strict):
    """A whole verification: deployment errors of the engines and, where a reference is known, model errors."""

    format: Literal["hesspot-verify"] = "hesspot-verify"
    format_version: int = REPORT_VERSION
    hesspot_version: str = __version__
    model: str
    weights_sha256: str
    #: what `LoadedModel.describe` says of the file on this machine
    runs: str = ""
    level_of_theory: str
    source: str
    structures: list[str]
    trained_model: EngineReport
    engines: list[EngineReport]
    model_errors: list[ModelErrors]
    #: runs, where they were asked for
    dynamics: list[DynamicCheck] = Field(default_factory=list)
    #: structures with reference values by part of the data; "" where that is not known
    parts: dict[str, int] = Field(default_factory=dict)
    passed: bool = False

    def judge(self) -> "VerifyReport":
        """The same report with `passed` set: the trained model, every engine and every run within tolerances."""
        passed = all(engine.passed for engine in [self.trained_model, *self.engines])
        passed = passed and all(check.passed for check in self.dynamics)
        return self.model_copy(update={"passed": passed})

    def write(self, path: str | Path) -> None:
        """Write as JSON; the file appears complete or not at all. NaN and infinity are written as strings."""
        write_atomically(path, (self.model_dump_json(indent=2) + "\n").encode("utf-8"))
