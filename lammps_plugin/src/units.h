// SPDX-License-Identifier: GPL-2.0-or-later
//
// The one place for units: models speak eV and Angstrom, LAMMPS the units of the input script.

#ifndef HESSPOT_UNITS_H
#define HESSPOT_UNITS_H

#include <optional>
#include <string>

#include "constants.h"

namespace hesspot {

/// LAMMPS's units in those of a model.
struct Units {
  double energy = 1.0;  ///< per eV
  double length = 1.0;  ///< per Angstrom
  double mass = 1.0;    ///< per amu

  double force() const { return energy / length; }
  double curvature() const { return energy / (length * length); }
};

/// The units of a `units` style of LAMMPS; none for other styles.
inline std::optional<Units> units_of(const std::string &style)
{
  if (style == "metal") return Units{1.0, 1.0};
  if (style == "real") return Units{1.0 / KCAL_PER_MOL, 1.0};
  if (style == "si") return Units{1.0 / JOULE, 1.0 / METER, 1.0 / KILOGRAM};
  if (style == "electron") return Units{1.0 / HARTREE, 1.0 / BOHR};
  return std::nullopt;
}

}  // namespace hesspot

#endif
