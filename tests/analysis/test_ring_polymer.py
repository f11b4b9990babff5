"""Risk: a formula for beads that is wrong in itself. It is held against the quantum oscillator and against virial and
equipartition."""

import numpy as np
import pytest

from hesspot.analysis.ring_polymer import harmonic_sums, ring_polymer_ratios
from hesspot.units import BOLTZMANN, HBAR, INVERSE_CM

#: 1/fs, a stretch of 3000 cm⁻¹; K.
OMEGA, TEMPERATURE = 3000.0 * INVERSE_CM / HBAR, 300.0
#: Of the energy, what 512 beads leave: the error falls with the square of the beads.
MANY_BEADS = 2e-4
#: Of the energy, a hundredth of a period: (ωΔt)²/4 and less.
SMALL_STEP = 1e-3


def test_many_beads_have_the_quantum_energy():
    potential, kinetic = harmonic_sums([OMEGA**2], 512, TEMPERATURE, 0.0)
    half = 0.25 * HBAR * OMEGA / np.tanh(0.5 * HBAR * OMEGA / (BOLTZMANN * TEMPERATURE))
    assert potential == pytest.approx(half, rel=MANY_BEADS)
    assert kinetic + 0.5 * BOLTZMANN * TEMPERATURE == pytest.approx(half, rel=MANY_BEADS)


def test_one_bead_is_a_classical_atom():
    potential, kinetic = harmonic_sums([OMEGA**2, 4 * OMEGA**2], 1, TEMPERATURE, 0.0)
    assert potential == pytest.approx(BOLTZMANN * TEMPERATURE, rel=1e-12)
    assert kinetic == 0.0


def test_small_time_steps_are_none():
    exact = ring_polymer_ratios(OMEGA**2, 8, TEMPERATURE, 0.0)
    np.testing.assert_allclose(ring_polymer_ratios(OMEGA**2, 8, TEMPERATURE, 0.1), exact, rtol=SMALL_STEP)


def test_one_bead_has_the_configurations_of_its_time_step():
    """Velocity Verlet samples ⟨q²⟩ = kT/(ω²(1 − (ωΔt)²/4)) (Leimkuhler and Matthews, 2013)."""
    step = 1.0
    (ratio,) = ring_polymer_ratios(OMEGA**2, 1, TEMPERATURE, step)
    assert ratio == pytest.approx(1 / (1 - (OMEGA * step) ** 2 / 4), rel=1e-12)
