"""Instanton and transition state rates against exact ones."""

import ase.build
import numpy as np
import pytest
from scipy.optimize import root

from hesspot.analysis.instanton import (
    instanton_rate,
    log_instanton,
    log_ring_oscillator,
    log_rotation,
    transition_state_rate,
)
from hesspot.analysis.normal_modes import NormalModes, rigid_basis
from hesspot.units import AMU_A2_PER_FS2, BOLTZMANN, HBAR, INVERSE_CM

#: An Eckart barrier V/cosh²(x/a): eV, Å, amu; crossover at 213.6 K.
HEIGHT, WIDTH, MASS = 0.4, 0.5, 1.0

#: What is left of the semiclassical error of the rate after the correction below, at these temperatures.
SEMICLASSICAL = 0.03


def exact_rate(kelvin):
    """k·Q_r in 1/fs from the exact transmission of the barrier (Eckart, Phys. Rev. 35, 1303, 1930)."""
    energies = np.linspace(1e-6, 3.0, 100001)
    wave = np.sqrt(2 * MASS * AMU_A2_PER_FS2 * energies) / HBAR
    action = 8 * MASS * AMU_A2_PER_FS2 * HEIGHT * WIDTH**2 / HBAR**2
    there = np.sinh(np.minimum(np.pi * wave * WIDTH, 300.0)) ** 2
    transmission = there / (there + np.cosh(np.pi / 2 * np.sqrt(action - 1)) ** 2)
    rate = np.trapezoid(transmission * np.exp(-energies / (BOLTZMANN * kelvin)), energies) / (2 * np.pi * HBAR)
    semiclassical = np.exp(np.pi * (np.sqrt(action - 1) - np.sqrt(action)))  # the two transmissions far below the top
    return rate, semiclassical


def eckart_path(kelvin, n_half):
    """Half ring on the barrier from scipy's root finder: positions, energies, second derivatives."""
    spring = MASS * AMU_A2_PER_FS2 * (2 * n_half * BOLTZMANN * kelvin / HBAR) ** 2

    def gradient(x):
        g = -2 * HEIGHT / WIDTH * np.tanh(x / WIDTH) / np.cosh(x / WIDTH) ** 2
        g[1:] += spring * np.diff(x)
        g[:-1] -= spring * np.diff(x)
        return g

    found = root(gradient, 0.4 * np.cos(np.linspace(0, np.pi, n_half)), tol=1e-12)
    assert found.success
    x = found.x
    sech2 = 1 / np.cosh(x / WIDTH) ** 2
    return x, HEIGHT * sech2, HEIGHT / WIDTH**2 * (4 * np.tanh(x / WIDTH) ** 2 * sech2 - 2 * sech2**2)


@pytest.mark.parametrize("kelvin", [150.0, 100.0])
def test_instanton_on_an_eckart_barrier(kelvin):
    x, energies, curvatures = eckart_path(kelvin, 64)
    rate = np.exp(log_instanton(np.array([MASS]), x[:, None], energies, curvatures[:, None, None], kelvin))
    exact, semiclassical = exact_rate(kelvin)
    assert abs(rate / (exact * semiclassical) - 1.0) < SEMICLASSICAL


def test_a_ring_of_many_beads_is_the_quantum_oscillator():
    frequencies, kelvin = np.array([500.0, 3000.0]), 300.0
    quanta = frequencies * INVERSE_CM / (BOLTZMANN * kelvin)
    exact = -np.log(2 * np.sinh(quanta / 2)).sum()
    assert abs(log_ring_oscillator(frequencies, 4096, kelvin) - exact) < 1e-4
    assert log_ring_oscillator(frequencies, 1, kelvin) == pytest.approx(-np.log(quanta).sum())


def test_rotation_of_water():
    """Rotational constants 27.88, 14.52, 9.28 cm⁻¹: √π √(kT)³/√(ABC) = 86.6 at 300 K without symmetry number."""
    kt = BOLTZMANN * 300.0 / INVERSE_CM
    constants = np.array([27.88, 14.52, 9.28])
    moments = HBAR**2 / (2 * constants * INVERSE_CM) / AMU_A2_PER_FS2
    assert np.exp(log_rotation(moments, 300.0)) == pytest.approx(np.sqrt(np.pi * kt**3 / constants.prod()))


def modes(frequencies):
    return NormalModes(np.array(frequencies), np.zeros((0, 0)), np.zeros(0), 6)


def test_transition_state_theory_by_hand():
    """One structure as reactant and saddle point: kT/h exp(−V/kT) times what the first mode had."""
    water, kelvin = ase.build.molecule("H2O"), 400.0
    kt = BOLTZMANN * kelvin
    classical, quantum = transition_state_rate(
        water, modes([1000.0, 2000.0, 3000.0]), water, modes([-900.0, 2000.0, 3000.0]), 0.3, kelvin
    )
    quantum_mode = 2 * np.sinh(1000.0 * INVERSE_CM / kt / 2)
    frequency = 1000.0 * INVERSE_CM / (2 * np.pi * HBAR) * 1e15
    assert classical == pytest.approx(frequency * np.exp(-0.3 / kt))
    assert quantum == pytest.approx(frequency * kt / (1000.0 * INVERSE_CM) * quantum_mode * np.exp(-0.3 / kt))


def test_rigid_motions_of_a_molecule_cancel():
    """A saddle point whose ring stays in one place but for one mode: the rate of a molecule is that of this mode.

    Water whose ring moves by a millionth of the path on the Eckart barrier, along one of its vibrations, with springs
    in the others that are the same before and on the path.
    """
    kelvin, n_half = 150.0, 16
    water = ase.build.molecule("H2O")
    root_mass = np.sqrt(np.repeat(water.get_masses(), 3))
    rigid = rigid_basis(water, water.get_masses())
    along = np.linalg.svd(rigid)[2][6]
    others = np.linalg.svd(np.vstack([rigid, along]))[2][7:]
    x, energies, curvatures = eckart_path(kelvin, n_half)
    stiff = (1500.0 * INVERSE_CM / HBAR) ** 2 * AMU_A2_PER_FS2  # eV/(Å² amu)
    path, hessians = [], []
    for place, curvature in zip(x, curvatures, strict=True):
        bead = water.copy()
        bead.positions += (1e-6 * place * along / root_mass).reshape(-1, 3)
        path.append(bead)
        weighted = curvature * np.outer(along, along) + stiff * others.T @ others
        hessians.append(weighted * np.outer(root_mass, root_mass))
    reactant = modes([1500.0, 1500.0])
    scaled = log_instanton(np.array([MASS]), 1e-6 * x[:, None], energies, curvatures[:, None, None], kelvin)
    rate = instanton_rate(water, reactant, path, energies, np.array(hessians), kelvin)
    assert np.log(rate * 1e-15) == pytest.approx(scaled, abs=1e-4)
