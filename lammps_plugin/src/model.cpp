// SPDX-License-Identifier: GPL-2.0-or-later

#include <hesspot/model.h>

#include "torchscript.h"

#include <filesystem>
#include <fstream>
#include <sstream>

namespace hesspot {

void Edges::clear()
{
  species.clear();
  centers.clear();
  neighbor_species.clear();
  vectors.clear();
}

void Edges::add_center(int center_species)
{
  species.push_back(center_species);
}

void Edges::add_edge(int neighbor, double dx, double dy, double dz)
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
  return load_archive(content, name, options);
}

}  // namespace hesspot
