// SPDX-License-Identifier: GPL-2.0-or-later

#ifndef HESSPOT_OTHER_INTERACTIONS_H
#define HESSPOT_OTHER_INTERACTIONS_H

#include <string>

namespace LAMMPS_NS {

/// What acts on the atoms of a group besides pair_style hesspot, or holds them to a constraint, in words: "pair_style
/// zbl, fix tether (spring/self)"; empty if nothing does. Looks into the lists of neighbors and of bonds, so a run must
/// have made them. Collective.
std::string other_interactions(class LAMMPS *, int groupbit);

}  // namespace LAMMPS_NS

#endif
