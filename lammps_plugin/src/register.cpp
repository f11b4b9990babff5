// SPDX-License-Identifier: GPL-2.0-or-later

#include "register.h"

namespace hesspot {

Style::Style(const char *its_category, const char *its_name, const std::string &what) :
    category(its_category), name(its_name), info("hesspot: " + what + " " HESSPOT_VERSION)
{
  all().push_back(this);
}

std::vector<const Style *> &Style::all()
{
  static std::vector<const Style *> styles;
  return styles;
}

}  // namespace hesspot

/// Called by the loader once the versions are known to fit.
extern "C" void hesspot_register(void *lmp, void *handle, void *regfunc)
{
  for (const auto *const style : hesspot::Style::all()) {
    lammpsplugin_t plugin{static_cast<LAMMPS_NS::LAMMPS *>(lmp)->version,
                          style->category,
                          style->name,
                          style->info.c_str(),
                          "The hesspot developers",
                          style->creator,
                          handle};
    reinterpret_cast<lammpsplugin_regfunc>(regfunc)(&plugin, lmp);
  }
}
