// SPDX-License-Identifier: GPL-2.0-or-later
//
// LAMMPS's plugin interface (lammpsplugin.h), which its binary distributions do not ship.

#ifndef HESSPOT_LAMMPS_PLUGIN_API_H
#define HESSPOT_LAMMPS_PLUGIN_API_H

extern "C" {
typedef void *(*lammpsplugin_factory1)(void *);
typedef void *(*lammpsplugin_factory2)(void *, int, char **);

typedef struct {
  const char *version;
  const char *style;
  const char *name;
  const char *info;
  const char *author;
  union {
    lammpsplugin_factory1 v1;  // pair and command styles
    lammpsplugin_factory2 v2;  // compute, fix and region styles
  } creator;
  void *handle;
} lammpsplugin_t;

typedef void (*lammpsplugin_regfunc)(lammpsplugin_t *, void *);
}

#endif
