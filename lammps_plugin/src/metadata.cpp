// SPDX-License-Identifier: GPL-2.0-or-later

#include "metadata.h"

#include <hesspot/model.h>

#include <nlohmann/json.hpp>

namespace hesspot {

Metadata parse_metadata(const std::string &text, const std::string &file)
{
  if (text.empty())
    throw ModelError("model file " + file + " is a TorchScript archive without " + METADATA_NAME +
                     ", so no hesspot model; make one with `hesspot export`");
  try {
    const auto content = nlohmann::json::parse(text);
    const int version = content.at("format_version").get<int>();
    if (version > FORMAT_VERSION)
      throw ModelError("model file " + file + " has format version " + std::to_string(version) + ", newer than " +
                       std::to_string(FORMAT_VERSION) +
                       " which this plugin reads; update hesspot and run `hesspot lammps build`");
    const auto energy = content.at("units").at("energy").get<std::string>();
    const auto length = content.at("units").at("length").get<std::string>();
    if (energy != "eV" || length != "angstrom")
      throw ModelError("model file " + file + " has units " + energy + " and " + length +
                       "; only eV and angstrom are read, export it again with `hesspot export`");
    return {content.at("elements").get<std::vector<std::string>>(), content.at("cutoff").get<double>(),
            content.at("architecture").at("name").get<std::string>()};
  } catch (const nlohmann::json::exception &error) {
    throw ModelError(std::string(METADATA_NAME) + " in model file " + file + " has a bad entry (" + error.what() +
                     "); export the model again with `hesspot export`");
  }
}

}  // namespace hesspot
