"""Risk: two languages with two values of one factor, or a factor that is not CODATA's."""

import numpy as np
import pytest
from ase import units as ase_units

from hesspot import units

#: Relative: ASE's constants are CODATA 2014's, which differ from those of 2018 in the seventh digit.
CODATA_2014 = 1e-6


def test_the_header_of_the_plugin_holds_these_factors():
    assert units.cpp_header() == units.CPP_HEADER.read_text(), "run `python -m hesspot.units`"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("HARTREE", ase_units.Hartree),
        ("BOHR", ase_units.Bohr),
        ("KCAL_PER_MOL", ase_units.kcal / ase_units.mol),
        ("JOULE", ase_units.J),
        ("METER", ase_units.m),
        ("KILOGRAM", ase_units.kg),
        ("BOLTZMANN", ase_units.kB),
        ("AMU", ase_units._amu / ase_units._me),
        ("IPI_AMU", ase_units._amu / ase_units._me),
        ("ATOMIC_TIME", ase_units.AUT / ase_units.fs),
        ("HBAR", ase_units._hbar * ase_units.J * ase_units.s / ase_units.fs),
        ("SPEED_OF_LIGHT", ase_units._c * 1e-13),
        ("INVERSE_CM", ase_units.invcm),
        ("AMU_A2_PER_FS2", 1.0 / ase_units.fs**2),
        (
            "SQRT_EV_PER_A2_AMU",
            ase_units._hbar * ase_units.m / np.sqrt(ase_units._e * ase_units._amu) / ase_units.invcm,
        ),
    ],
)
def test_factors_are_those_of_ase(name, expected):
    assert getattr(units, name) == pytest.approx(expected, rel=CODATA_2014)


@pytest.mark.parametrize(
    ("text", "power", "expected"),
    [
        ("Ha / bohr ** 2", 2, ase_units.Hartree / ase_units.Bohr**2),
        ("kcal/mol/Å", 1, ase_units.kcal / ase_units.mol),
        ("kJ/mol/nm^2", 2, ase_units.kJ / ase_units.mol / ase_units.nm**2),
        ("mev/ang³", 3, 1e-3),
        ("Ry", 0, ase_units.Ry),
    ],
)
def test_units_in_words(text, power, expected):
    assert units.energy_per_length(text, power) == pytest.approx(expected, rel=CODATA_2014)
