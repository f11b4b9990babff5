// SPDX-License-Identifier: GPL-2.0-or-later
//
// The one place for units: models speak eV and Angstrom, LAMMPS the units of the input script.

#ifndef HESSPOT_UNITS_H
#define HESSPOT_UNITS_H

#include <optional>
#include <string>

namespace hesspot {

/// LAMMPS units per eV, for the styles whose unit of length is Angstrom; none for other styles.
/// 1 kcal = 4.184 kJ, and the Faraday constant (CODATA 2018) in kJ/mol per eV.
inline std::optional<double> energy_per_ev(const std::string &unit_style)
{
  if (unit_style == "metal") return 1.0;
  if (unit_style == "real") return 96.48533212331002 / 4.184;
  return std::nullopt;
}

}  // namespace hesspot

#endif
