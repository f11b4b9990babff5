"""Units: the only place where a conversion factor is written, and lengths that Python and C++ share.

hesspot works in eV, Å, amu, fs; Hessians are in eV/Å². Factors are CODATA 2018 values. What the LAMMPS plugin
needs stands in a header that ``python -m hesspot.units`` writes.
"""

import math
from pathlib import Path

HARTREE = 27.211386245988  #: eV
BOHR = 0.529177210903  #: Å
KCAL_PER_MOL = 4.184 / 96.48533212331002  #: eV
JOULE = 1.0 / 1.602176634e-19  #: eV
METER = 1e10  #: Å
KILOGRAM = 1.0 / 1.66053906660e-27  #: amu
BOLTZMANN = 8.617333262e-5  #: eV/K
AMU = 1822.888486209  #: electron masses
IPI_AMU = 1822.8885  #: electron masses, as i-PI rounds it: what it divides by, files for it must multiply by
ATOMIC_TIME = 2.4188843265857e-2  #: fs, ħ / Hartree
HBAR = HARTREE * ATOMIC_TIME  #: eV fs
SPEED_OF_LIGHT = 2.99792458e-5  #: cm/fs

MILLIDYNE_PER_A = 100.0 * JOULE / METER**2  #: eV/Å²

HARTREE_PER_BOHR = HARTREE / BOHR  #: eV/Å
HARTREE_PER_BOHR2 = HARTREE / BOHR**2  #: eV/Å²

#: amu Å²/fs² in eV, so that sqrt((eV/Å²)/amu · 1/AMU_A2_PER_FS2) is an angular frequency in rad/fs.
AMU_A2_PER_FS2 = AMU * (1.0 / BOHR) ** 2 * ATOMIC_TIME**2 * HARTREE

#: sqrt(eV/(Å² amu)) as a wavenumber in cm⁻¹: ν̃ = ω / (2πc).
SQRT_EV_PER_A2_AMU = math.sqrt(1.0 / AMU_A2_PER_FS2) / (2.0 * math.pi * SPEED_OF_LIGHT)

#: one cm⁻¹ as an energy hcν̃ in eV.
INVERSE_CM = 2.0 * math.pi * HBAR * SPEED_OF_LIGHT

#: Names of units that files are written in, lower case, without spaces: what one of each is in eV and Å.
ENERGIES = {
    "ev": 1.0,
    "mev": 1e-3,
    "hartree": HARTREE,
    "ha": HARTREE,
    "eh": HARTREE,
    "rydberg": HARTREE / 2,
    "ry": HARTREE / 2,
    "kcal/mol": KCAL_PER_MOL,
    "kj/mol": KCAL_PER_MOL / 4.184,
}
PRESSURES = {"gpa": 1e9 * JOULE / METER**3, "kbar": 1e8 * JOULE / METER**3, "pa": JOULE / METER**3}
LENGTHS = {"å": 1.0, "angstrom": 1.0, "ang": 1.0, "a": 1.0, "bohr": BOHR, "a0": BOHR, "nm": 10.0}


def energy_per_length(text: str, power: int) -> float:
    """What one unit such as ``Hartree/bohr^2`` is in eV/Å^power; KeyError for an unknown one.

    `power` 0 takes an energy, 1 a force, 2 a Hessian, 3 a stress, which may be in GPa, kbar or Pa, too; ``**2``,
    ``^2`` and ``²`` mean the same.
    """
    text = text.strip().lower().replace(" ", "").replace("**", "").replace("^", "")
    text = text.replace("²", "2").replace("³", "3")
    if power == 0:
        return ENERGIES[text]
    if power == 3 and text in PRESSURES:
        return PRESSURES[text]
    if power > 1:
        if not text.endswith(str(power)):
            raise KeyError(text)
        text = text[:-1]
    energy, _, length = text.rpartition("/")
    return ENERGIES[energy] / LENGTHS[length] ** power


#: Two atoms closer than this (Å) are taken for one atom given twice.
COINCIDENT = 1e-3

#: The header of the LAMMPS plugin in a checkout, and what it holds.
CPP_HEADER = Path(__file__).parents[1] / "lammps_plugin" / "src" / "constants.h"
CPP_CONSTANTS = {
    "HARTREE": (HARTREE, "eV"),
    "BOHR": (BOHR, "Angstrom"),
    "KCAL_PER_MOL": (KCAL_PER_MOL, "eV"),
    "JOULE": (JOULE, "eV"),
    "METER": (METER, "Angstrom"),
    "KILOGRAM": (KILOGRAM, "amu"),
    "COINCIDENT": (COINCIDENT, "Angstrom: closer atoms are taken for one atom given twice"),
}


def cpp_header() -> str:
    """The text of `CPP_HEADER`."""
    lines = "\n".join(
        f"/// {unit}\ninline constexpr double {name} = {value!r};" for name, (value, unit) in CPP_CONSTANTS.items()
    )
    return f"""// SPDX-License-Identifier: GPL-2.0-or-later
//
// Written by `python -m hesspot.units`: change the numbers in hesspot/units.py, not here.

#ifndef HESSPOT_CONSTANTS_H
#define HESSPOT_CONSTANTS_H

namespace hesspot {{

{lines}

}}  // namespace hesspot

#endif
"""


if __name__ == "__main__":
    CPP_HEADER.write_text(cpp_header())
