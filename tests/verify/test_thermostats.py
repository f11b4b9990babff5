"""Thermostats: samples of the right distribution pass, those of a wrong one do not."""

import numpy as np
import pytest
from ase.build import molecule
from scipy.spatial.transform import Rotation

from hesspot.analysis.normal_modes import normal_modes
from hesspot.units import BOLTZMANN, SQRT_EV_PER_A2_AMU
from hesspot.verification.start import Start
from hesspot.verification.thermostats import ensembles, equipartition, in_place

#: K; structures of a run, each independent of the others.
KELVIN, FRAMES = (20.0, 30.0), 4000
#: Å: rounding, and what is left of small vibrations by superposition, which is defined to second order in them.
ROUNDING = 1e-9


@pytest.fixture(scope="module")
def start() -> Start:
    atoms = molecule("CH3OH")
    pairs = np.array([(a, b) for a in range(6) for b in range(a)])
    hessian = np.zeros((6, 3, 6, 3))
    for a, b in pairs:
        unit = atoms.positions[a] - atoms.positions[b]
        unit /= np.linalg.norm(unit)
        block = 20.0 * np.outer(unit, unit)
        for i, j, sign in ((a, a, 1), (b, b, 1), (a, b, -1), (b, a, -1)):
            hessian[i, :, j] += sign * block
    return Start(None, "methanol", atoms, normal_modes(atoms, hessian.reshape(18, 18)))


def sample(start: Start, kelvin: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Potential energies and positions of harmonic modes at temperatures (m,), of a molecule that moves and turns."""
    rng = np.random.default_rng(seed)
    stiffness = (start.modes.frequencies / SQRT_EV_PER_A2_AMU) ** 2
    q = rng.normal(size=(FRAMES, len(stiffness))) * np.sqrt(BOLTZMANN * kelvin / stiffness)
    shifts = (q @ start.modes.vectors).reshape(FRAMES, -1, 3) / np.sqrt(start.modes.masses)[:, None]
    turned = np.einsum(
        "fij,faj->fai", Rotation.random(FRAMES, random_state=seed).as_matrix(), start.atoms.positions + shifts
    )
    return 0.5 * (stiffness * q**2).sum(1), turned + rng.normal(size=(FRAMES, 1, 3))


def test_turned_molecules_are_put_back(start):
    turns = Rotation.random(10, random_state=1).as_matrix()
    moved = np.einsum("fij,aj->fai", turns, start.atoms.positions) + 3.0
    assert np.abs(in_place(moved, start) - start.atoms.positions).max() < ROUNDING


def test_right_ensembles_pass(start):
    runs = [sample(start, np.full(12, kelvin), 7 + number) for number, kelvin in enumerate(KELVIN)]
    modes = equipartition(start, "an engine", runs[0][1], KELVIN[0])
    assert modes.passed and modes.tolerance < 0.2 * KELVIN[0]
    assert ensembles(start, "an engine", [energies for energies, _ in runs], KELVIN).passed


def test_one_mode_that_is_too_hot_is_named(start):
    kelvins = np.full(12, KELVIN[0])
    kelvins[4] *= 1.5
    found = equipartition(start, "an engine", sample(start, kelvins, 3)[1], KELVIN[0])
    assert not found.passed
    assert f"{start.modes.frequencies[4]:.0f} cm⁻¹" in found.note
    assert found.found == pytest.approx(kelvins[4], rel=0.1)


def test_a_thermostat_at_another_temperature_is_seen_in_the_ensembles(start):
    energies = [sample(start, np.full(12, kelvin), 5)[0] for kelvin in (KELVIN[0], 1.2 * KELVIN[1])]
    found = ensembles(start, "an engine", energies, KELVIN)
    assert not found.passed
