"""Thermochemistry: the same H, S and G as ASE's, and the limits of what is written for soft modes."""

import ase.units
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.thermochemistry import HarmonicThermo, IdealGasThermo, RRHOMode

from hesspot.chemistry.surface import Surface
from hesspot.chemistry.symmetry_number import symmetry_number
from hesspot.chemistry.thermochemistry import (
    MEAN_INERTIA,
    TREATMENTS,
    Conditions,
    conditions_for,
    spin_of,
    thermochemistry,
    wigner,
)
from hesspot.chemistry.vibrations import hold, vibrations, with_masses
from hesspot.errors import UserError

#: eV; ASE counts with the constants of CODATA 2014, which differ by 6e-7 of kT times numbers up to 30.
CONSTANTS = 1e-6


@pytest.fixture(scope="module")
def surface() -> Surface:
    return Surface("shipped:grown")


CASES = {
    "ethanol": (lambda: molecule("CH3CH2OH"), "nonlinear", Conditions(350.0, 0.3, 1)),
    "heavy water": (lambda: with_masses(molecule("H2O"), ["H=2.014"]), "nonlinear", Conditions(298.15, 1.01325, 2)),
    "linear": (lambda: molecule("C2H2"), "linear", Conditions(500.0, 2.0, 2)),
    "atom": (lambda: Atoms("N"), "monatomic", Conditions(298.15, 1.0, 1, 1.5)),
}


@pytest.mark.parametrize("case", CASES)
def test_ideal_gas_is_that_of_ase(case, surface):
    start, shape, conditions = CASES[case]
    found = vibrations(surface, start())
    theirs = IdealGasThermo(
        vib_energies=found.frequencies * ase.units.invcm,
        geometry=shape,
        potentialenergy=found.point.energy,
        atoms=found.atoms,
        symmetrynumber=conditions.symmetry,
        spin=conditions.spin,
    )
    ours = thermochemistry(found, conditions)
    pascal = 1e5 * conditions.pressure
    assert ours.enthalpy == pytest.approx(theirs.get_enthalpy(conditions.temperature, verbose=False), abs=CONSTANTS)
    entropy = theirs.get_entropy(conditions.temperature, pascal, verbose=False)
    assert ours.entropy * conditions.temperature == pytest.approx(entropy * conditions.temperature, abs=CONSTANTS)
    gibbs = theirs.get_gibbs_energy(conditions.temperature, pascal, verbose=False)
    assert ours.gibbs == pytest.approx(gibbs, abs=2 * CONSTANTS)
    assert ours.zero_point == pytest.approx(theirs.get_ZPE_correction(), abs=CONSTANTS)


def test_what_is_held_has_vibrations_alone(surface):
    found = vibrations(surface, hold(molecule("CH3OH"), None, [0]))
    theirs = HarmonicThermo(found.frequencies * ase.units.invcm, found.point.energy)
    ours = thermochemistry(found, conditions_for(found.atoms, 400.0))
    assert ours.enthalpy == pytest.approx(theirs.get_internal_energy(400.0, verbose=False), abs=CONSTANTS)
    assert ours.gibbs == pytest.approx(theirs.get_helmholtz_energy(400.0, verbose=False), abs=CONSTANTS)


@pytest.mark.parametrize("treatment", TREATMENTS[1:])
def test_soft_modes_are_those_of_ase(treatment, surface):
    found = vibrations(surface, molecule("CH3CH2OH"), scale=0.4)  # its torsions at 103 and 125 cm⁻¹
    temperature = 298.15
    modes = [
        RRHOMode(value * ase.units.invcm, MEAN_INERTIA, tau=100.0, treat_int_energy=treatment == TREATMENTS[2])
        for value in found.frequencies
    ]
    ours = thermochemistry(found, Conditions(temperature), treatment)
    expected = temperature * sum(mode.get_entropy(temperature, False) for mode in modes)
    assert temperature * ours.entropies["vibration"] == pytest.approx(expected, abs=CONSTANTS)
    expected = sum(mode.get_internal_energy(temperature, False) for mode in modes)
    assert ours.internal["vibration"] == pytest.approx(expected, abs=CONSTANTS)
    assert ours.gibbs > thermochemistry(found, Conditions(temperature)).gibbs or treatment != TREATMENTS[1]


def test_imaginary_modes_are_left_out(surface):
    flat = molecule("NH3")
    flat.positions[0, 2] = flat.positions[1:, 2].mean() + 0.1
    found = vibrations(surface, flat, goal="saddle")
    assert len(found.imaginary) == 1 and len(found.real) == 5
    theirs = HarmonicThermo(found.frequencies[1:] * ase.units.invcm)
    zero_point = thermochemistry(found, Conditions()).zero_point
    assert zero_point == pytest.approx(theirs.get_ZPE_correction(), abs=CONSTANTS)


def test_wigner_is_the_first_term_of_a_parabolic_barrier():
    temperature, frequency = 300.0, 100.0
    half = 0.5 * frequency * ase.units.invcm / (ase.units.kB * temperature)
    exact = half / np.sin(half)
    assert wigner(frequency, temperature) == pytest.approx(exact, abs=1.1 * 7 / 5760 * (2 * half) ** 4)
    assert wigner(frequency, temperature) - 1.0 > 0.9 * (exact - 1.0)


def test_spin_is_that_of_the_structure():
    assert [spin_of(molecule(name)) for name in ("H2O", "O2", "NH2")] == [0.0, 1.0, 0.5]


@pytest.mark.parametrize(
    ("stated", "sentence"),
    [
        ({"symmetry": 0}, r"--symmetry 0: the number of rotations .* is 1 or more"),
        ({"temperature": -3.0}, r"--temperature -3: give a positive number"),
        ({"pressure": 0.0}, r"--pressure 0: give a positive number"),
        ({"spin": 0.5}, r"--spin 0.5 cannot be with 10 electrons"),
        ({"spin": 0.3}, r"--spin 0.3"),
    ],
)
def test_impossible_conditions_are_refused(stated, sentence):
    with pytest.raises(UserError, match=sentence):
        conditions_for(molecule("H2O"), **{"temperature": 300.0, **stated})


def test_what_a_gas_alone_has_is_refused_of_others():
    held = hold(molecule("H2O"), None, [0])
    for stated in ({"pressure": 1.0}, {"symmetry": 2}):
        with pytest.raises(
            UserError, match=r"is for a molecule of a gas, and OH2 is periodic or has atoms that are held"
        ):
            conditions_for(held, 300.0, **stated)


#: D. A. McQuarrie, Statistical Mechanics, chapter 8, and G. Herzberg.
ROTATIONS = {"H2O": 2, "NH3": 3, "CH4": 12, "C2H4": 4, "C2H6": 6, "HCN": 1, "C2H2": 2, "CO2": 2, "C6H6": 12, "BF3": 6}


def test_symmetry_numbers_are_those_of_textbooks():
    assert {name: symmetry_number(molecule(name)) for name in ROTATIONS} == ROTATIONS
    assert symmetry_number(Atoms("N")) == 1 and symmetry_number(molecule("CH3CH2OH")) == 1
    assert symmetry_number(with_masses(molecule("CH4"), ["1=2.014"])) == 3
    assert symmetry_number(with_masses(molecule("C2H2"), ["2=2.014"])) == 1


def test_a_symmetry_number_that_is_stated_holds():
    water = molecule("H2O")
    assert (conditions_for(water, 300.0).symmetry, conditions_for(water, 300.0, symmetry=1).symmetry) == (2, 1)
