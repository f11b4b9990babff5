// SPDX-License-Identifier: GPL-2.0-or-later
//
// The library that LAMMPS opens. It depends on no C++ symbol of LAMMPS, so it can always be opened; it asks the running
// LAMMPS and MPI for their versions through C functions, and only if they are those that the plugin was built for does
// it open the library with the styles, which stays open for good.

#include "lmptype.h"

#include <dlfcn.h>
#include <mpi.h>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace {

using Refusal = std::string;  // empty: nothing to refuse

constexpr const char *STYLES_LIBRARY = "libhesspot_styles.so";
constexpr const char *REMEDY = "; build the plugin for this LAMMPS with `hesspot lammps build`";

#if defined(OPEN_MPI)
constexpr bool BUILT_WITH_OPEN_MPI = true;
#else
constexpr bool BUILT_WITH_OPEN_MPI = false;
#endif

template <typename Function> Function *symbol(void *library, const char *name)
{
  return reinterpret_cast<Function *>(dlsym(library, name));
}

/// The library, or the executable, that a function of LAMMPS belongs to.
void *library_of(void *function)
{
  Dl_info info;
  void *library = nullptr;
  if (dladdr(function, &info)) library = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
  return library ? library : dlopen(nullptr, RTLD_LAZY);
}

Refusal check_lammps(void *host, void *lmp)
{
  const auto version = symbol<int(void *)>(host, "lammps_version");
  const auto setting = symbol<int(void *, const char *)>(host, "lammps_extract_setting");
  if (!version || !setting) return "the running LAMMPS does not show its C interface, so its version is unknown";
  if (version(lmp) != HESSPOT_LAMMPS_VERSION)
    return "the plugin was built for LAMMPS " + std::to_string(HESSPOT_LAMMPS_VERSION) + ", but this is LAMMPS " +
           std::to_string(version(lmp)) + REMEDY;

  const auto descriptor = symbol<const char *()>(host, "_ZN9LAMMPS_NS6LAMMPS14git_descriptorEv");
  const std::string built = HESSPOT_LAMMPS_DESCRIPTOR, running = descriptor ? descriptor() : "";
  if (!built.empty() && built != running)
    return "the plugin was built for LAMMPS " + built + ", but this is LAMMPS " +
           (running.empty() ? "of another build" : running) + REMEDY;

  const struct {
    const char *name;
    std::size_t size;
  } integers[] = {{"bigint", sizeof(LAMMPS_NS::bigint)},
                  {"tagint", sizeof(LAMMPS_NS::tagint)},
                  {"imageint", sizeof(LAMMPS_NS::imageint)}};
  for (const auto &[name, size] : integers)
    if (setting(lmp, name) != static_cast<int>(size))
      return std::string("the plugin was built for a LAMMPS with ") + name + " of " + std::to_string(size) +
             " bytes, but here it has " + std::to_string(setting(lmp, name)) + REMEDY;

  if (dlsym(RTLD_DEFAULT, "lammps_version") != reinterpret_cast<void *>(version))
    return "the symbols of the running LAMMPS are not the global ones of the process, so the plugin would use "
           "another LAMMPS; load one LAMMPS library only, with RTLD_GLOBAL";
  return {};
}

Refusal check_mpi()
{
  const auto library_version = symbol<int(char *, int *)>(RTLD_DEFAULT, "MPI_Get_library_version");
  if (!library_version) return "the running LAMMPS has no MPI library, but the plugin needs one";
  std::string text(MPI_MAX_LIBRARY_VERSION_STRING, '\0');
  int length = 0;
  library_version(text.data(), &length);
  const bool open_mpi = text.rfind("Open MPI", 0) == 0;
  if (open_mpi != BUILT_WITH_OPEN_MPI)
    return std::string("the plugin was built with ") +
           (BUILT_WITH_OPEN_MPI ? "Open MPI" : "MPICH or a relative of it") + ", but LAMMPS runs with " +
           text.substr(0, text.find_first_of("\n,")) + REMEDY;
  return {};
}

std::string folder_of_this_library()
{
  Dl_info info;
  dladdr(reinterpret_cast<void *>(&folder_of_this_library), &info);
  const std::string path = info.dli_fname;
  return path.substr(0, path.find_last_of('/') + 1);
}

/// Ends the run on all ranks.
[[noreturn]] void refuse(void *host, void *lmp, const Refusal &reason)
{
  constexpr int LMP_ERROR_ALL = 2;
  const std::string message = "hesspot plugin: " + reason;
  const auto error = symbol<void(void *, int, const char *)>(host, "lammps_error");
  if (error) error(lmp, LMP_ERROR_ALL, message.c_str());
  std::fprintf(stderr, "ERROR: %s\n", message.c_str());
  std::exit(1);
}

}  // namespace

extern "C" void lammpsplugin_init(void *lmp, void *handle, void *regfunc)
{
  void *host = library_of(regfunc);
  Refusal reason = check_lammps(host, lmp);
  if (reason.empty()) reason = check_mpi();
  if (!reason.empty()) refuse(host, lmp, reason);

  const std::string path = folder_of_this_library() + STYLES_LIBRARY;
  void *styles = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (!styles) refuse(host, lmp, std::string(dlerror()) + REMEDY);
  symbol<void(void *, void *, void *)>(styles, "hesspot_register")(lmp, handle, regfunc);
}
