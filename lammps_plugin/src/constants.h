// SPDX-License-Identifier: GPL-2.0-or-later
//
// Written by `python -m hesspot.units`: change the numbers in hesspot/units.py, not here.

#ifndef HESSPOT_CONSTANTS_H
#define HESSPOT_CONSTANTS_H

namespace hesspot {

/// eV
inline constexpr double HARTREE = 27.211386245988;
/// Angstrom
inline constexpr double BOHR = 0.529177210903;
/// eV
inline constexpr double KCAL_PER_MOL = 0.04336410424180094;
/// eV
inline constexpr double JOULE = 6.241509074460763e+18;
/// Angstrom
inline constexpr double METER = 10000000000.0;
/// amu
inline constexpr double KILOGRAM = 6.022140762081123e+26;
/// Angstrom: closer atoms are taken for one atom given twice
inline constexpr double COINCIDENT = 0.001;

}  // namespace hesspot

#endif
