// SPDX-License-Identifier: GPL-2.0-or-later

#include <hesspot/model.h>

#include "archive.h"
#include "block.h"
#include "fingerprint.h"
#include "kernel_backend.h"
#include "metadata.h"
#include "torchscript.h"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

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

std::string read_file(const std::string &path)
{
  const std::string remedy = "; give the path of a file made by `hesspot export`";
  std::error_code unknown;
  if (std::filesystem::is_directory(path, unknown)) throw ModelError("model file " + path + " is a folder" + remedy);
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream content;
  if (!stream || !(content << stream.rdbuf()))
    throw ModelError("model file " + path + " does not exist, is empty or cannot be read" + remedy);
  return content.str();
}

std::unique_ptr<Model> load_model(const std::string &path, const Options &options)
{
  return load_model_content(read_file(path), path, options);
}

std::unique_ptr<Model> load_model_content(const std::string &content, const std::string &name, const Options &options)
{
  const auto archive = read_archive(content, name);
  const auto metadata = read_metadata(archive, name);
  std::string lacking = metadata.no_kernel;
  if (lacking.empty() && options.device != "cpu") lacking = "the kernel runs on the CPU, not on " + options.device;
  if (options.backend == Backend::TorchScript) lacking = "as asked for";
  std::unique_ptr<Model> model;
  if (lacking.empty()) try {
      model = load_kernel(archive.at(WEIGHTS), metadata, name, options);
    } catch (const NoKernel &reason) {
      lacking = std::string("the packed weights ") + reason.what();
    }
  if (options.backend == Backend::Kernel && !lacking.empty())
    throw ModelError("model file " + name + " cannot be evaluated by the kernel: " + lacking +
                     "; use the torchscript backend");
  if (!model) model = load_script(content, metadata, name, options);
  if (options.verify) replay_fingerprint(*model, read_fingerprint(archive, metadata, name), options.precision, name);

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
