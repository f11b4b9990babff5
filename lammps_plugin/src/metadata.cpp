// SPDX-License-Identifier: GPL-2.0-or-later

#include "metadata.h"

#include "block.h"
#include "sha256.h"

#include <hesspot/model.h>

#include <nlohmann/json.hpp>

#include <cstring>

namespace hesspot {
namespace {

const std::string AGAIN = "; export it again with `hesspot export`";

/// Calls function() and turns what JSON lacks into a sentence.
template <typename Function> auto reading(const std::string &file, Function function)
{
  try {
    return function();
  } catch (const ModelError &) {
    throw;
  } catch (const std::exception &error) {
    throw ModelError(std::string(METADATA_NAME) + " in model file " + file + " has a bad entry (" + error.what() + ")" +
                     AGAIN);
  }
}

ModelError changed(const std::string &what, const std::string &file)
{
  return ModelError("the " + what + " in model file " + file + " do not match what its " + METADATA_NAME +
                    " says: the file was changed" + AGAIN);
}

/// SHA-256 over the TorchScript, its code and its weights: all records but those in `extra/`, sorted by name.
std::string script_hash(const Archive &archive)
{
  Sha256 hash;
  for (const auto &[name, data] : archive) {
    if (name.rfind("extra/", 0) == 0) continue;
    hash.add(name + " " + std::to_string(data.size()) + "\n");
    hash.add(data);
  }
  return hash.digest();
}

std::string hash_of(const Archive &archive, const char *record)
{
  const auto found = archive.find(record);
  return found == archive.end() ? "" : sha256(found->second);
}

/// Files of format 1 have no hash of their metadata.
void check_own_hash(const Archive &archive, const Metadata &metadata, const std::string &file)
{
  const auto told = archive.find(METADATA_HASH);
  if (told == archive.end() && metadata.format_version == 1) return;
  if (told == archive.end() || told->second != hash_of(archive, METADATA))
    throw ModelError(std::string(METADATA_NAME) + " in model file " + file +
                     " does not match its hash: the file was changed" + AGAIN);
}

void check_hashes(const Archive &archive, const nlohmann::json &content, const Metadata &metadata, bool packed,
                  const std::string &file)
{
  const auto script = content.at("script_sha256").get<std::string>();
  if (script != script_hash(archive)) throw changed("TorchScript", file);
  if (metadata.weights_sha256 != (packed ? hash_of(archive, WEIGHTS) : script)) throw changed("weights", file);
  if (content.at("edges_sha256").get<std::string>() != hash_of(archive, EDGES))
    throw changed("edges of the fingerprint", file);
}

/// Why no kernel here reads the packed weights; empty: one does. ModelError if they are not what the metadata say.
std::string check_weights(const std::string &block, const nlohmann::json &stated, const Metadata &metadata,
                          const std::string &file)
{
  nlohmann::json shape;
  try {
    shape = nlohmann::json::parse(shape_of(block));
  } catch (const NoKernel &reason) {
    return std::string("the packed weights ") + reason.what();
  } catch (const std::invalid_argument &problem) {
    throw damaged_weights(problem.what(), file);
  }
  if (shape != stated) throw damaged_weights("state another shape than their description", file);
  if (shape.at("elements") != metadata.elements || shape.at("cutoff") != metadata.cutoff)
    throw changed("elements and cutoff of the packed weights", file);
  return {};
}

/// Takes numbers of eight bytes from the record of the edges.
class EdgeReader {
 public:
  explicit EdgeReader(const std::string &bytes) : bytes_(bytes) {}

  template <typename T> std::vector<T> take(std::size_t count)
  {
    static_assert(sizeof(T) == 8);
    if (count > (bytes_.size() - place_) / 8) throw std::length_error("the edges end too early");
    std::vector<T> values(count);
    if (count) std::memcpy(values.data(), bytes_.data() + place_, 8 * count);
    place_ += 8 * count;
    return values;
  }

  /// Indices below `limit`.
  std::vector<std::int64_t> indices(std::size_t count, std::size_t limit)
  {
    auto values = take<std::int64_t>(count);
    for (const auto value : values)
      if (value < 0 || static_cast<std::size_t>(value) >= limit) throw std::out_of_range("an edge ends nowhere");
    return values;
  }

 private:
  const std::string &bytes_;
  std::size_t place_ = 0;
};

}  // namespace

ModelError damaged_weights(const std::string &problem, const std::string &file)
{
  return ModelError("in model file " + file + " the packed weights " + problem + AGAIN);
}

Metadata read_metadata(const Archive &archive, const std::string &file)
{
  const auto text = archive.find(METADATA);
  if (text == archive.end())
    throw ModelError("model file " + file + " is an archive without " + METADATA_NAME +
                     ", so no hesspot model; make one with `hesspot export`");
  return reading(file, [&] {
    const auto content = nlohmann::json::parse(text->second);
    Metadata metadata;
    content.at("format_version").get_to(metadata.format_version);
    if (metadata.format_version > FORMAT_VERSION)
      throw ModelError("model file " + file + " has format version " + std::to_string(metadata.format_version) +
                       ", newer than " + std::to_string(FORMAT_VERSION) +
                       " which this plugin reads; update hesspot and run `hesspot lammps build`");
    const auto energy = content.at("units").at("energy").get<std::string>();
    const auto length = content.at("units").at("length").get<std::string>();
    if (energy != "eV" || length != "angstrom")
      throw ModelError("model file " + file + " has units " + energy + " and " + length +
                       "; only eV and angstrom are read" + AGAIN);
    content.at("elements").get_to(metadata.elements);
    content.at("cutoff").get_to(metadata.cutoff);
    content.at("architecture").at("name").get_to(metadata.architecture);
    content.at("weights_sha256").get_to(metadata.weights_sha256);
    metadata.jump_at_cutoff = content.value("jump_at_cutoff", false);
    const std::string without = "architecture " + metadata.architecture + " has no kernel";
    check_own_hash(archive, metadata, file);
    if (metadata.format_version == 1) {
      metadata.no_kernel =
          metadata.architecture == "torchscript"
              ? without
              : "it was written before files held packed weights: write it anew with `hesspot export OLD NEW`";
      return metadata;
    }
    const auto &shape = content.at("shape");
    check_hashes(archive, content, metadata, !shape.is_null(), file);
    if (shape.is_null())
      metadata.no_kernel = without;
    else
      metadata.no_kernel = check_weights(archive.at(WEIGHTS), shape, metadata, file);
    if (const auto &stated = content.at("no_kernel"); !stated.is_null()) stated.get_to(metadata.no_kernel);
    return metadata;
  });
}

std::vector<FingerprintEntry> read_fingerprint(const Archive &archive, const Metadata &metadata,
                                               const std::string &file)
{
  if (metadata.format_version == 1)
    throw ModelError("model file " + file +
                     " was written before files held the edges of their fingerprint, so that it cannot be verified "
                     "here; write it anew with `hesspot export OLD NEW`");
  return reading(file, [&] {
    std::vector<FingerprintEntry> fingerprint;
    EdgeReader reader(archive.at(EDGES));
    const auto content = nlohmann::json::parse(archive.at(METADATA));
    for (const auto &stored : content.at("fingerprint")) {
      FingerprintEntry entry;
      stored.at("name").get_to(entry.name);
      const auto sizes = reader.take<std::int64_t>(2);
      const auto n_atoms = static_cast<std::size_t>(sizes[0]), n_edges = static_cast<std::size_t>(sizes[1]);
      entry.edges.species = reader.indices(n_atoms, metadata.elements.size());
      entry.edges.centers = reader.indices(n_edges, n_atoms);
      entry.ends = reader.indices(n_edges, n_atoms);
      entry.edges.vectors = reader.take<double>(3 * n_edges);
      for (const auto end : entry.ends)
        entry.edges.neighbor_species.push_back(entry.edges.species[static_cast<std::size_t>(end)]);
      stored.at("energy").get_to(entry.energy);
      stored.at("virial").get_to(entry.virial);
      const std::initializer_list<std::pair<const char *, std::vector<Vector> *>> vectors = {
          {"forces", &entry.forces}, {"directions", &entry.directions}, {"hvp", &entry.products}};
      for (const auto &[name, rows] : vectors)
        if (stored.at(name).get_to(*rows).size() != n_atoms)
          throw std::length_error(std::string(name) + " of " + entry.name + " has not one row per atom");
      fingerprint.push_back(std::move(entry));
    }
    return fingerprint;
  });
}

}  // namespace hesspot
