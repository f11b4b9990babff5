"""What a verification found, as it is written to JSON."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

import hesspot
from hesspot.files import write_atomically

#: Version of the JSON layout.
REPORT_VERSION = 1


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="strings")


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
    checks: list[Check] = []
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


class Errors(Strict):
    """Mean absolute and root-mean-square error, and the largest, over `count` values."""

    mae: float
    rmse: float
    max: float
    count: int


class ModelErrors(Strict):
    """Model error on one group of structures: the trained model against the reference, physics.

    None where the reference does not give the quantity or where it has no meaning (frequencies away from
    stationary points). Hessian errors are over all elements of all matrices.
    """

    group: str
    n_structures: int
    energy: Errors | None = None  #: eV
    energy_per_atom: Errors | None = None  #: eV per atom
    forces: Errors | None = None  #: eV/Å
    hessian: Errors | None = None  #: eV/Å²
    hessian_kcal: Errors | None = None  #: kcal/mol/Å²
    frequencies: Errors | None = None  #: cm⁻¹
    frequencies_below_400: Errors | None = None  #: cm⁻¹
    frequencies_above_400: Errors | None = None  #: cm⁻¹
    zero_point_energy: Errors | None = None  #: eV
    imaginary_right: int | None = None  #: structures with the reference's number of imaginary modes …
    imaginary_wrong: int | None = None  #: … and the others
    mode_overlap_mean: float | None = None  #: |cos v₁| of the lowest modes at saddle points
    mode_overlap_min: float | None = None


class VerifyReport(Strict):
    """A whole verification: deployment errors of the engines and, where a reference is known, model errors."""

    format: Literal["hesspot-verify"] = "hesspot-verify"
    format_version: int = REPORT_VERSION
    hesspot_version: str = hesspot.__version__
    model: str
    weights_sha256: str
    level_of_theory: str
    source: str
    structures: list[str]
    trained_model: EngineReport
    engines: list[EngineReport]
    model_errors: list[ModelErrors]
    passed: bool = False

    def judge(self) -> "VerifyReport":
        """The same report with `passed` set: the trained model and every engine within their tolerances."""
        passed = all(engine.passed for engine in [self.trained_model, *self.engines])
        return self.model_copy(update={"passed": passed})

    def write(self, path: str | Path) -> None:
        """Write as JSON; the file appears complete or not at all. NaN and infinity are written as strings."""
        write_atomically(path, (self.model_dump_json(indent=2) + "\n").encode("utf-8"))
