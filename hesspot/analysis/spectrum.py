"""The spectrum of a motion, from how long its velocities remember how they began."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicSpline

from hesspot.units import SPEED_OF_LIGHT

#: Series that are transformed at once.
SERIES = 256

#: Points between two of a curve where its peak is looked for.
FINER = 16


def memory_spectrum(
    correlation: np.ndarray, interval: float, frequencies: np.ndarray, *, width: float, timestep: float = 0.0
) -> np.ndarray:
    """Weights of the modes at `frequencies` (m,) cm⁻¹ per cm⁻¹, their integral over all positive ones 1, each mode a
    Gaussian of standard deviation `width` cm⁻¹: (…, m).

    correlation (…, k): Σ m v(0)·v(t) at times that are `interval` fs apart, from 0 on; of a harmonic motion that begins
    at a minimum Σ w cos(ωt), w being a mode's part of the kinetic energy at 0.
    g(ν) = 4c ∫ C(t)/C(0) exp(−(2πc·width·t)²/2) cos(2πcνt) dt. timestep: fs, of velocity Verlet, in which a mode of
    angular frequency ω moves with (2/Δt)·arcsin(ωΔt/2); it is found at ω then. 0 for a motion that is exact.
    """
    times = np.arange(correlation.shape[-1]) * interval
    angular = 2.0 * np.pi * SPEED_OF_LIGHT
    weights = np.full(len(times), interval)
    weights[0] *= 0.5
    moved, slope = frequencies, np.ones(len(frequencies))
    if timestep:
        half = 0.5 * timestep * angular
        sine = np.clip(half * frequencies, -0.999, 0.999)
        moved, slope = np.arcsin(sine) / half, 1.0 / np.sqrt(1.0 - sine**2)
    damped = correlation / correlation[..., :1] * np.exp(-0.5 * (angular * width * times) ** 2) * weights
    return np.asarray(4.0 * SPEED_OF_LIGHT * slope * (damped @ np.cos(angular * np.outer(times, moved))))


def memory_time(width: float) -> float:
    """fs of a correlation that count where each line is a Gaussian of standard deviation `width` cm⁻¹: it is damped to
    e⁻⁸ there."""
    return 4.0 / (2.0 * np.pi * SPEED_OF_LIGHT * width)


def autocorrelation(series: np.ndarray, n_lags: int) -> np.ndarray:
    """⟨x(s) x(s + t)⟩ over all s of each of d series (k, d), for t from 0 to n_lags − 1 steps: (d, n_lags)."""
    length = len(series)
    counts = length - np.arange(n_lags)
    found = np.empty((series.shape[1], n_lags))
    for first in range(0, series.shape[1], SERIES):
        part = np.fft.rfft(series[:, first : first + SERIES].T, 2 * length)
        found[first : first + SERIES] = np.fft.irfft(part * part.conj(), 2 * length)[:, :n_lags] / counts
    return found


def peak(frequencies: np.ndarray, curve: np.ndarray) -> tuple[float, float]:
    """Place of the highest point of a curve (m,) on an even grid, and its full width at half of that height, by a
    cubic spline; the grid's end where the curve does not fall so far."""
    fine = np.linspace(frequencies[0], frequencies[-1], FINER * (len(frequencies) - 1) + 1)
    values = CubicSpline(frequencies, curve)(fine)
    top = int(values.argmax())
    place, height = float(fine[top]), float(values[top])
    if 0 < top < len(values) - 1:
        before, here, after = values[top - 1 : top + 2]
        if before - 2.0 * here + after < 0.0:
            place += float(0.5 * (before - after) / (before - 2.0 * here + after) * (fine[1] - fine[0]))
    above = _crossing(fine[top:], values[top:], 0.5 * height)
    return place, above - _crossing(fine[top::-1], values[top::-1], 0.5 * height)


def _crossing(frequencies: np.ndarray, curve: np.ndarray, level: float) -> float:
    """Where a curve that begins above a level first falls below it."""
    below = np.flatnonzero(curve < level)
    if not len(below):
        return float(frequencies[-1])
    k = int(below[0])
    part = (curve[k - 1] - level) / (curve[k - 1] - curve[k])
    return float(frequencies[k - 1] + part * (frequencies[k] - frequencies[k - 1]))
