"""Errors of means and slopes against series whose exact errors are known."""

import numpy as np
import pytest
from scipy.stats import linregress

from hesspot.analysis.drift import energy_drift, mean, slope
from hesspot.errors import UserError

#: Relative; scatter of an error from some tens of blocks, averaged over 60 series, and the bias of the largest.
SCATTER = 0.35
#: 95 % of 60 values should lie within two standard errors; three standard deviations less.
COVERED = 0.95 - 3 * np.sqrt(0.95 * 0.05 / 60)


def correlated(phi: float, n: int, seed: int) -> np.ndarray:
    """Autoregressive series y_{t+1} = φ y_t + noise, stationary, with unit variance."""
    noise = np.random.default_rng(seed).standard_normal(n) * np.sqrt(1 - phi**2)
    series = np.empty(n)
    series[0] = noise[0] / np.sqrt(1 - phi**2)
    for i in range(1, n):
        series[i] = phi * series[i - 1] + noise[i]
    return series


@pytest.mark.parametrize("phi", [0.0, 0.9])
def test_error_of_the_mean_of_an_autoregressive_series(phi: float) -> None:
    n = 4000
    exact = np.sqrt((1 + phi) / (1 - phi) / n)
    estimates = [mean(correlated(phi, n, seed) + 5.0) for seed in range(60)]
    assert np.mean([e.error for e in estimates]) == pytest.approx(exact, rel=SCATTER)
    covered = np.mean([abs(e.value - 5.0) < 2 * e.error for e in estimates])
    assert covered > COVERED


@pytest.mark.parametrize("phi", [0.0, 0.9])
def test_error_of_the_slope_accounts_for_correlation(phi: float) -> None:
    n, true = 4000, 2e-4
    times = np.arange(n) * 0.5
    arm = times - times.mean()
    exact = np.sqrt((1 + phi) / (1 - phi) / (arm @ arm))
    estimates = [slope(times, correlated(phi, n, seed) + true * times) for seed in range(60)]
    assert np.mean([e.error for e in estimates]) == pytest.approx(exact, rel=SCATTER)
    assert np.std([e.value for e in estimates]) == pytest.approx(exact, rel=SCATTER)
    covered = np.mean([abs(e.value - true) < 2 * e.error for e in estimates])
    assert covered > COVERED


def test_slope_is_that_of_least_squares() -> None:
    times = np.arange(100) * 2.0
    values = correlated(0.5, 100, 1)
    assert slope(times, values).value == pytest.approx(np.polyfit(times, values, 1)[0])


def test_error_of_the_slope_is_that_of_least_squares_where_nothing_is_correlated() -> None:
    """Signs that alternate cancel in blocks, so that the error without blocks is the largest."""
    times = np.arange(20) * 2.0
    values = 0.3 * times + np.tile([0.1, -0.1], 10)
    assert slope(times, values).error == pytest.approx(linregress(times, values).stderr)


def test_energy_drift_is_per_atom_and_picosecond() -> None:
    times = np.arange(1000) * 0.5  # fs
    wobble = 1e-4 * np.sin(times)
    drift = energy_drift(times, -300.0 + 6e-6 * times + wobble, n_atoms=3)
    assert drift.slope.value == pytest.approx(2e-3, abs=3 * drift.slope.error)
    assert drift.duration == pytest.approx(0.4995)
    assert drift.total.value == pytest.approx(drift.slope.value * 0.4995)
    assert drift.total.error < 1e-5


def test_a_beginning_can_be_discarded() -> None:
    series = np.concatenate([np.full(250, 100.0), correlated(0.3, 750, 2)])
    assert abs(mean(series, discard=0.25).value) < 0.3


def test_short_and_broken_series_are_refused() -> None:
    with pytest.raises(UserError, match="3 samples"):
        mean(np.zeros(3))
    with pytest.raises(UserError, match="not a finite number"):
        slope(np.arange(20), np.full(20, np.nan))
