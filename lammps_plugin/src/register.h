// SPDX-License-Identifier: GPL-2.0-or-later
//
// The styles of the plugin. One object beside each class makes the class known to LAMMPS:
//
//   static const hesspot::ComputeStyle<ComputeHesspotHvp> style("hesspot/hvp", "exact Hessian-vector products");

#ifndef HESSPOT_REGISTER_H
#define HESSPOT_REGISTER_H

#include "lammps_headers.h"
#include "lammps_plugin_api.h"

#include <string>
#include <vector>

namespace hesspot {

struct Style {
  const char *const category;  ///< as LAMMPS's plugin interface names it
  const char *const name;
  const std::string info;
  decltype(lammpsplugin_t::creator) creator{};

  static std::vector<const Style *> &all();

  Style(const Style &) = delete;
  Style &operator=(const Style &) = delete;

 protected:
  Style(const char *its_category, const char *its_name, const std::string &what);
  ~Style() = default;
};

template <typename Class> struct PairStyle : Style {
  PairStyle(const char *its_name, const std::string &what) : Style("pair", its_name, what)
  {
    creator.v1 = [](void *lmp) -> void * { return new Class(static_cast<LAMMPS_NS::LAMMPS *>(lmp)); };
  }
};

template <typename Class> struct ComputeStyle : Style {
  ComputeStyle(const char *its_name, const std::string &what) : Style("compute", its_name, what)
  {
    creator.v2 = [](void *lmp, int narg, char **arg) -> void * {
      return new Class(static_cast<LAMMPS_NS::LAMMPS *>(lmp), narg, arg);
    };
  }
};

}  // namespace hesspot

#endif
