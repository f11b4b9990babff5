"""Model errors as rows of text, for the terminal and the report alike."""

import math
from collections.abc import Callable

from hesspot.accuracy.model_errors import Errors, ModelErrors


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
