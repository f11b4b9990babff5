"""The spectrum of a motion, from how long its velocities remember how they began."""

from __future__ import annotations

import numpy as np

from hesspot.units import SPEED_OF_LIGHT


def memory_spectrum(
    correlation: np.ndarray, interval: float, frequencies: np.ndarray, *, width: float, timestep: float = 0.0
) -> np.ndarray:
    """Weights of the modes at `frequencies` (m,) cm⁻¹ per cm⁻¹, their integral over all positive ones 1, each mode a
    Gaussian of standard deviation `width` cm⁻¹.

    correlation (k,): Σ m v(0)·v(t) at times that are `interval` fs apart, from 0 on; of a harmonic motion that begins
    at a minimum Σ w cos(ωt), w being a mode's part of the kinetic energy at 0.
    g(ν) = 4c ∫ C(t)/C(0) exp(−(2πc·width·t)²/2) cos(2πcνt) dt. timestep: fs, of velocity Verlet, in which a mode of
    angular frequency ω moves with (2/Δt)·arcsin(ωΔt/2); it is found at ω then. 0 for a motion that is exact.
    """
    times = np.arange(len(correlation)) * interval
    angular = 2.0 * np.pi * SPEED_OF_LIGHT
    weights = np.full(len(times), interval)
    weights[0] *= 0.5
    moved, slope = frequencies, np.ones(len(frequencies))
    if timestep:
        half = 0.5 * timestep * angular
        sine = np.clip(half * frequencies, -0.999, 0.999)
        moved, slope = np.arcsin(sine) / half, 1.0 / np.sqrt(1.0 - sine**2)
    damped = correlation / correlation[0] * np.exp(-0.5 * (angular * width * times) ** 2) * weights
    return np.asarray(4.0 * SPEED_OF_LIGHT * slope * (np.cos(angular * np.outer(moved, times)) @ damped))
