"""Risk: a spectrum with lines at other frequencies, or of another weight, than the motion has."""

import numpy as np

from hesspot.analysis.spectrum import memory_spectrum
from hesspot.units import SPEED_OF_LIGHT

FREQUENCIES, WEIGHTS = np.array([150.0, 1600.0, 3700.0]), np.array([0.5, 0.2, 0.3])
WIDTH = 15.0

#: Of the largest density: what is left of the window where the run ends, and the sum in the place of the integral.
SUMMED = 1e-4


def lines(grid: np.ndarray) -> np.ndarray:
    gaussians = np.exp(-0.5 * ((grid[:, None] - FREQUENCIES) / WIDTH) ** 2) / (WIDTH * np.sqrt(2 * np.pi))
    return np.asarray(gaussians @ WEIGHTS)


def test_lines_are_gaussians_of_the_weights() -> None:
    times = np.arange(0, 1600.0, 2.0)
    correlation = 7.0 * np.cos(2 * np.pi * SPEED_OF_LIGHT * np.outer(times, FREQUENCIES)) @ WEIGHTS
    grid = np.arange(0.0, 4000.0, 1.0)
    found = memory_spectrum(correlation, 2.0, grid, width=WIDTH)
    np.testing.assert_allclose(found, lines(grid), atol=SUMMED * lines(grid).max())
    np.testing.assert_allclose(found.sum(), 1.0, rtol=1e-3)


def test_what_verlet_does_to_frequencies_is_undone() -> None:
    """Velocity Verlet of oscillators by hand, half a femtosecond a step: the stiffest is off by 19 cm⁻¹."""
    timestep, angular = 0.5, 2 * np.pi * SPEED_OF_LIGHT * FREQUENCIES
    x, v = np.zeros(3), np.sqrt(WEIGHTS)
    first, correlation = v.copy(), []
    for step in range(3200):
        if step % 4 == 0:
            correlation.append(float(first @ v))
        v = v - 0.5 * timestep * angular**2 * x
        x = x + timestep * v
        v = v - 0.5 * timestep * angular**2 * x
    grid = np.arange(3600.0, 3850.0, 1.0)
    right = memory_spectrum(np.array(correlation), 2.0, grid, width=WIDTH, timestep=timestep)
    np.testing.assert_allclose((right * grid).sum() / right.sum(), 3700.0, atol=0.1)
    np.testing.assert_allclose(right.sum(), 0.3, rtol=0.01)
    raw = memory_spectrum(np.array(correlation), 2.0, grid, width=WIDTH)
    assert 15.0 < (raw * grid).sum() / raw.sum() - 3700.0 < 22.0
