// SPDX-License-Identifier: GPL-2.0-or-later
//
// LAMMPS's own headers, without their warnings.

#ifndef HESSPOT_LAMMPS_HEADERS_H
#define HESSPOT_LAMMPS_HEADERS_H

#pragma GCC system_header

#include <mpi.h>

#include "atom.h"
#include "comm.h"
#include "compute.h"
#include "domain.h"
#include "error.h"
#include "fix.h"
#include "force.h"
#include "input.h"
#include "label_map.h"
#include "lammps.h"
#include "memory.h"
#include "modify.h"
#include "neigh_list.h"
#include "neighbor.h"
#include "pair.h"
#include "pointers.h"
#include "universe.h"
#include "update.h"
#include "utils.h"
#include "variable.h"

#endif
