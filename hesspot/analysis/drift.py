"""Means and drifts of time series with errors that account for autocorrelation.

Errors come from block averages (Flyvbjerg, Petersen, J. Chem. Phys. 91, 461, 1989): the series is averaged over
pairs again and again, and the largest of the errors at all levels is taken, so that it holds as long as the
correlation time is short against the series.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hesspot.errors import UserError

#: Levels with fewer blocks are not used: their errors scatter by more than a quarter of themselves.
MIN_BLOCKS = 16


@dataclass(frozen=True)
class Estimate:
    """A value with its standard error, in the unit of the series (per unit of time for slopes)."""

    value: float
    error: float

    def __str__(self) -> str:
        """Value and error with two digits of the error, such as 1.234(56) written as 1.234 ± 0.056."""
        if not (math.isfinite(self.error) and self.error > 0):
            return f"{self.value:.6g} ± {self.error:.2g}"
        exponent = math.floor(math.log10(self.error))
        if -5 < exponent < 5:
            decimals = max(0, 1 - exponent)
            return f"{self.value:.{decimals}f} ± {self.error:.{decimals}f}"
        scale = math.floor(math.log10(max(abs(self.value), self.error)))
        decimals = scale - exponent + 1
        return f"({self.value / 10**scale:.{decimals}f} ± {self.error / 10**scale:.{decimals}f})e{scale:+03d}"


@dataclass(frozen=True)
class Drift:
    """Drift of the conserved energy: slope in eV/atom/ps, and what it adds up to over the run in eV/atom."""

    slope: Estimate
    total: Estimate
    duration: float  #: ps


def _halved(*series: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """The series, their averages over pairs, over fours, …, while there are `MIN_BLOCKS` blocks."""
    while len(series[0]) >= MIN_BLOCKS:
        yield series
        even = len(series[0]) // 2 * 2
        series = tuple(0.5 * (values[0:even:2] + values[1:even:2]) for values in series)


def _checked(*series: np.ndarray) -> list[np.ndarray]:
    arrays = [np.asarray(values, dtype=np.float64) for values in series]
    if len(arrays[0]) < MIN_BLOCKS:
        raise UserError(f"{len(arrays[0])} samples are too few for an error; give at least {MIN_BLOCKS}")
    if not all(np.isfinite(values).all() for values in arrays):
        raise UserError("the series has a value that is not a finite number; find out where the run went wrong")
    return arrays


def mean(values: np.ndarray, discard: float = 0.0) -> Estimate:
    """Mean of a stationary series (n,) without its first part `discard` (0 ≤ discard < 1).

    UserError for fewer than `MIN_BLOCKS` samples and for non-finite ones.
    """
    (kept,) = _checked(np.asarray(values)[int(discard * len(values)) :])
    errors = [blocks.std(ddof=1) / np.sqrt(len(blocks)) for (blocks,) in _halved(kept)]
    return Estimate(float(kept.mean()), float(max(errors)))


def slope(times: np.ndarray, values: np.ndarray) -> Estimate:
    """Slope of the least-squares line through a series (n,) at evenly spaced times (n,).

    UserError for fewer than `MIN_BLOCKS` samples and for non-finite ones.
    """
    times, values = _checked(times, values)
    errors = []
    for t, y in _halved(times, values):
        arm = t - t.mean()
        fitted = (arm @ y) / (arm @ arm)
        residual = y - y.mean() - fitted * arm
        errors.append(np.sqrt((residual @ residual) / (len(y) - 2) / (arm @ arm)))
    arm = times - times.mean()
    return Estimate(float((arm @ values) / (arm @ arm)), float(max(errors)))


def energy_drift(times: np.ndarray, energies: np.ndarray, n_atoms: int) -> Drift:
    """Drift of the total energy (n,) in eV of a constant-energy run at times (n,) in fs."""
    picoseconds = np.asarray(times, dtype=np.float64) * 1e-3
    per_atom = slope(picoseconds, np.asarray(energies, dtype=np.float64) / n_atoms)
    duration = float(picoseconds[-1] - picoseconds[0])
    return Drift(per_atom, Estimate(per_atom.value * duration, per_atom.error * duration), duration)
