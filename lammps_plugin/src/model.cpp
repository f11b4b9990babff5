// SPDX-License-Identifier: GPL-2.0-or-later

#include <hesspot/model.h>

#include "archive.h"
#include "block.h"
#include "fingerprint.h"
#include "kernel_backend.h"
#include "torchscript.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string_view>

namespace hesspot {

void EdgeList::clear()
{
  species.clear();
  centers.clear();
  neighbor_species.clear();
  vectors.clear();
}

void EdgeList::add_center(int center_species)
{
  species.push_back(center_species);
}

void EdgeList::add_edge(int neighbor, double dx, double dy, double dz)
{
  centers.push_back(static_cast<std::int64_t>(species.size()) - 1);
  neighbor_species.push_back(neighbor);
  vectors.insert(vectors.end(), {dx, dy, dz});
}

namespace {

/// Names of models of the Python package begin so; the variable names the folder that they are in.
constexpr std::string_view SHIPPED = "shipped:";
constexpr const char *FOLDER_OF_SHIPPED = "HESSPOT_MODELS";

/// The numbers of a fingerprint's structure.
Replay replay_of(Model &model)
{
  return [&model](const FingerprintEntry &entry, const std::vector<double> &directions) {
    const EdgeList edges{entry.species, entry.centers, entry.neighbor_species, entry.vectors};
    Replayed given;
    model.evaluate(edges, given.energies, given.gradient);
    model.hvp(edges, directions, given.products);
    return given;
  };
}

}  // namespace

int n_cuda_devices()
{
  return torchscript("device cuda is asked for").n_cuda_devices();
}

std::string path_of(const std::string &name)
{
  if (!name.starts_with(SHIPPED)) return name;
  const char *const folder = std::getenv(FOLDER_OF_SHIPPED);
  if (!folder)
    throw ModelError("model " + name + " is one of the Python package, whose folder the variable " + FOLDER_OF_SHIPPED +
                     " does not name here; run LAMMPS by `hesspot lammps run`, or give the file that `hesspot models " +
                     name.substr(SHIPPED.size()) + " --path` prints");
  const auto path = std::filesystem::path(folder) / (name.substr(SHIPPED.size()) + ".pt");
  std::error_code unreadable;
  if (std::filesystem::exists(path, unreadable)) return path.string();
  std::string shipped;
  for (const auto &entry : std::filesystem::directory_iterator(folder, unreadable))
    if (entry.path().extension() == ".pt") shipped += (shipped.empty() ? "" : ", ") + entry.path().stem().string();
  throw ModelError("there is no shipped model " + name.substr(SHIPPED.size()) + " in " + folder + "; shipped are " +
                   (shipped.empty() ? "none" : shipped));
}

std::unique_ptr<Model> load_model(const std::string &path, const Options &options)
{
  return load_model_content(read_file(path), path, options);
}

std::unique_ptr<Model> load_model_content(std::string content, const std::string &name, const Options &options)
{
  const ModelFile file(std::move(content), name);
  const auto &metadata = file.metadata();
  std::string lacking = file.no_kernel();
  if (lacking.empty() && options.device != "cpu") lacking = "the kernel runs on the CPU, not on " + options.device;
  if (options.backend == Backend::TorchScript) lacking = "as asked for";
  std::unique_ptr<Model> model;
  if (lacking.empty()) try {
      model = load_kernel(file, options);
    } catch (const NoKernel &reason) {
      lacking = reason.what();
    }
  if (options.backend == Backend::Kernel && !lacking.empty())
    throw ModelError("model file " + name + " cannot be evaluated by the kernel: " + lacking +
                     "; use the torchscript backend");
  if (!model) {
    const bool asked_for = options.backend == Backend::TorchScript;
    const auto why =
        asked_for ? "backend torchscript is asked for" : "model file " + name + " has no kernel here: " + lacking;
    model = torchscript(why).load(file, options);
  }
  if (options.verify)
    check_fingerprint(file.fingerprint(), replay_of(*model), options.precision == Precision::Single, name);

  char cutoff[32];
  std::snprintf(cutoff, sizeof cutoff, "%g", metadata.cutoff);
  std::string elements;
  for (const auto &element : metadata.elements) elements += (elements.empty() ? "" : " ") + element;
  model->description_ = name + " (weights " + metadata.weights_sha256.substr(0, 12) + "; " + elements + "; cutoff " +
                        cutoff + " Angstrom" + (metadata.jump_at_cutoff ? "; jumps at the cutoff" : "") + ") in " +
                        (options.precision == Precision::Single ? "float32" : "float64") + " by " +
                        (lacking.empty() ? "the kernel (" + model->instructions() + ")"
                                         : "TorchScript on " + options.device + " (" + lacking + ")");
  return model;
}

}  // namespace hesspot
