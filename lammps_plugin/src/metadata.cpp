// SPDX-License-Identifier: GPL-2.0-or-later

#include "metadata.h"

#include <hesspot/model.h>

#include <nlohmann/json.hpp>

namespace hesspot {
namespace {

ModelError bad_entry(const std::string &file, const std::exception &error)
{
  return ModelError(std::string(METADATA_NAME) + " in model file " + file + " has a bad entry (" + error.what() +
                    "); export the model again with `hesspot export`");
}

}  // namespace

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
    throw bad_entry(file, error);
  }
}

std::vector<FingerprintEntry> parse_fingerprint(const std::string &text, const std::string &file)
{
  std::vector<FingerprintEntry> fingerprint;
  try {
    const auto content = nlohmann::json::parse(text);
    for (const auto &stored : content.at("fingerprint")) {
      FingerprintEntry entry;
      const std::size_t n_atoms = stored.at("numbers").get_to(entry.numbers).size();
      stored.at("name").get_to(entry.name);
      stored.at("cell").get_to(entry.cell);
      stored.at("pbc").get_to(entry.periodic);
      stored.at("energy").get_to(entry.energy);
      stored.at("virial").get_to(entry.virial);
      const std::initializer_list<std::pair<const char *, std::vector<Vector> *>> vectors = {
          {"positions", &entry.positions},
          {"forces", &entry.forces},
          {"directions", &entry.directions},
          {"hvp", &entry.products}};
      for (const auto &[name, rows] : vectors)
        if (stored.at(name).get_to(*rows).size() != n_atoms)
          throw std::length_error(std::string(name) + " of " + entry.name + " has not one row per atom");
      fingerprint.push_back(std::move(entry));
    }
  } catch (const std::exception &error) {
    throw bad_entry(file, error);
  }
  return fingerprint;
}

}  // namespace hesspot
