// SPDX-License-Identifier: GPL-2.0-or-later
//
// Opens the library of the TorchScript backend, if the torch that it was built for is there.

#include "torchscript.h"

#include <dlfcn.h>

#include <cstdint>
#include <fstream>

namespace hesspot {
namespace {

constexpr const char *LIBRARY = "libhesspot_torchscript.so";

/// Beside the library: the version of the torch that it was built for, and the folder of that torch's libraries.
constexpr const char *BUILT_FOR = "torch.txt";

constexpr const char *REMEDY = "; build the plugin for the torch that is here with `hesspot lammps build`";

std::string folder_of_this_library()
{
  Dl_info info;
  dladdr(reinterpret_cast<void *>(&folder_of_this_library), &info);
  const std::string path = info.dli_fname;
  return path.substr(0, path.find_last_of('/') + 1);
}

/// The torch that this process has already, or else that of `folder`; empty: it is of this version.
std::string problem_with_torch(const std::string &version, const std::string &folder)
{
  void *torch = dlopen("libtorch_cpu.so", RTLD_LAZY | RTLD_NOLOAD);
  if (!torch) torch = dlopen((folder + "/libtorch_cpu.so").c_str(), RTLD_LAZY);
  if (!torch) return "torch " + version + " cannot be loaded (" + dlerror() + ")";
  const auto running = reinterpret_cast<std::uint64_t (*)()>(dlsym(torch, "aoti_torch_abi_version"));
  const auto number = running ? running() : 0;
  const std::string found = std::to_string(number >> 56) + "." + std::to_string(number >> 48 & 0xff) + "." +
                            std::to_string(number >> 40 & 0xff);
  if (found == version) return {};
  return "it was built for torch " + version + ", but this is torch " + (running ? found : "of another version");
}

const TorchScript &open(const std::string &why)
{
  const std::string folder = folder_of_this_library();
  const std::string cannot = why + ", and TorchScript cannot run here: ";
  std::ifstream told(folder + BUILT_FOR);
  std::string version, torch_folder;
  if (!std::getline(told, version) || !std::getline(told, torch_folder))
    throw ModelError(cannot + "this plugin, in " + folder +
                     ", was built without torch; install torch and call `hesspot lammps build`");
  if (const auto problem = problem_with_torch(version, torch_folder); !problem.empty())
    throw ModelError(cannot + problem + REMEDY);
  void *library = dlopen((folder + LIBRARY).c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (!library) throw ModelError(cannot + dlerror() + REMEDY);
  return *reinterpret_cast<const TorchScript *(*)()>(dlsym(library, "hesspot_torchscript"))();
}

}  // namespace

const TorchScript &torchscript(const std::string &why)
{
  static const TorchScript *backend = nullptr;
  if (!backend) backend = &open(why);
  return *backend;
}

}  // namespace hesspot
