// SPDX-License-Identifier: GPL-2.0-or-later
//
// The one place for units: models speak eV and Angstrom, LAMMPS the units of the input script.

#ifndef HESSPOT_UNITS_H
#define HESSPOT_UNITS_H

#include <optional>
#include <string>

namespace hesspot {

/// LAMMPS's units in those of a model.
struct Units {
  double energy = 1.0;  ///< per eV
  double length = 1.0;  ///< per Angstrom

  double force() const { return energy / length; }
  double curvature() const { return energy / (length * length); }
};

/// The units of a `units` style of LAMMPS; none for other styles. CODATA 2018: 1 kcal = 4.184 kJ with the Faraday
/// constant in kJ/mol per eV; the joule; Hartree and Bohr.
inline std::optional<Units> units_of(const std::string &style)
{
  if (style == "metal") return Units{1.0, 1.0};
  if (style == "real") return Units{96.48533212331002 / 4.184, 1.0};
  if (style == "si") return Units{1.602176634e-19, 1e-10};
  if (style == "electron") return Units{1.0 / 27.211386245988, 1.0 / 0.529177210903};
  return std::nullopt;
}

}  // namespace hesspot

#endif
