// SPDX-License-Identifier: GPL-2.0-or-later
//
// Registers the styles with LAMMPS. Called by the loader once the versions are known to fit.

#include "compute_hesspot_deviation.h"
#include "compute_hesspot_hvp.h"
#include "lammps_plugin_api.h"
#include "pair_hesspot.h"

using namespace LAMMPS_NS;

static void *create_pair(void *lmp)
{
  return new PairHesspot(static_cast<LAMMPS *>(lmp));
}

static void *create_hvp(void *lmp, int narg, char **arg)
{
  return new ComputeHesspotHvp(static_cast<LAMMPS *>(lmp), narg, arg);
}

static void *create_deviation(void *lmp, int narg, char **arg)
{
  return new ComputeHesspotDeviation(static_cast<LAMMPS *>(lmp), narg, arg);
}

extern "C" void hesspot_register(void *lmp, void *handle, void *regfunc)
{
  lammpsplugin_t plugin;
  plugin.version = static_cast<LAMMPS *>(lmp)->version;
  plugin.style = "pair";
  plugin.name = "hesspot";
  plugin.info = "hesspot: Hessian-informed potentials " HESSPOT_VERSION;
  plugin.author = "The hesspot developers";
  plugin.creator.v1 = create_pair;
  plugin.handle = handle;
  reinterpret_cast<lammpsplugin_regfunc>(regfunc)(&plugin, lmp);

  plugin.style = "compute";
  plugin.name = "hesspot/hvp";
  plugin.info = "hesspot: exact Hessian-vector products " HESSPOT_VERSION;
  plugin.creator.v2 = create_hvp;
  reinterpret_cast<lammpsplugin_regfunc>(regfunc)(&plugin, lmp);

  plugin.name = "hesspot/deviation";
  plugin.info = "hesspot: disagreement of a committee " HESSPOT_VERSION;
  plugin.creator.v2 = create_deviation;
  reinterpret_cast<lammpsplugin_regfunc>(regfunc)(&plugin, lmp);
}
