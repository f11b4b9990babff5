// SPDX-License-Identifier: MIT

#include "model_file.h"

#include "block.h"
#include "json.h"
#include "sha256.h"

#include <cstring>
#include <functional>

namespace hesspot {
namespace {

constexpr const char *PACKED = "the packed weights ";

/// Calls function() and turns what JSON lacks into a sentence.
template <typename Function>
auto reading(const std::string &file, Function function) {
  try {
    return function();
  } catch (const std::invalid_argument &error) {
    throw ModelError(std::string(METADATA_NAME) + " in model file " + file +
                     " has a bad entry " + error.what() + EXPORT_AGAIN);
  }
}

/// One of the entries of an object, as `get` gives it.
template <typename Get>
auto taken(const Json &json, const char *name, Get get) {
  const Json &found = json.at(name);
  try {
    return std::invoke(get, found);
  } catch (const std::invalid_argument &error) {
    throw std::invalid_argument(std::string(name) + ": " + error.what());
  }
}

ModelError changed(const std::string &what, const std::string &file) {
  return ModelError("the " + what + " in model file " + file +
                    " do not match what its " + METADATA_NAME +
                    " says: the file was changed" + EXPORT_AGAIN);
}

ModelError damaged_weights(const std::string &problem,
                           const std::string &file) {
  return ModelError("in model file " + file + " " + PACKED + problem +
                    EXPORT_AGAIN);
}

/// SHA-256 over the TorchScript, its code and its weights: all records but
/// those in `extra/`, sorted by name.
std::string script_hash(const Archive &archive) {
  Sha256 hash;
  for (const auto &[name, data] : archive.records()) {
    if (name.starts_with("extra/"))
      continue;
    hash.add(name + " " + std::to_string(data.size()) + "\n");
    hash.add(data);
  }
  return hash.digest();
}

std::string hash_of(const Archive &archive, const char *record) {
  const auto *const found = archive.find(record);
  return found ? sha256(*found) : "";
}

/// Files of format 1 have no hash of their metadata.
void check_own_hash(const Archive &archive, int format_version,
                    const std::string &file) {
  const auto *const stated = archive.find(METADATA_HASH);
  if (stated ? *stated != hash_of(archive, METADATA) : format_version > 1)
    throw ModelError(std::string(METADATA_NAME) + " in model file " + file +
                     " does not match its hash: the file was changed" +
                     EXPORT_AGAIN);
}

void check_hashes(const Archive &archive, const Json &content,
                  const Metadata &metadata, const std::string &file) {
  const std::string script = taken(content, "script_sha256", &Json::text);
  if (script != script_hash(archive))
    throw changed("TorchScript", file);
  const bool packed = !content.at("shape").is_null();
  if (metadata.weights_sha256 != (packed ? hash_of(archive, WEIGHTS) : script))
    throw changed("weights", file);
  if (taken(content, "edges_sha256", &Json::text) != hash_of(archive, EDGES))
    throw changed("edges of the fingerprint", file);
}

/// Why no kernel here reads the packed weights; empty: one does. ModelError if
/// they are not what the metadata say.
std::string check_weights(std::string_view block, const Json &stated,
                          const Metadata &metadata, const std::string &file) {
  std::string text;
  try {
    text = shape_of(block);
  } catch (const NoKernel &reason) {
    return std::string(PACKED) + reason.what();
  } catch (const std::invalid_argument &problem) {
    throw damaged_weights(problem.what(), file);
  }
  const Json shape = Json::parse(text);
  if (!(shape == stated))
    throw damaged_weights("state another shape than their description", file);
  if (shape.at("elements").texts() != metadata.elements ||
      shape.at("cutoff").number() != metadata.cutoff)
    throw changed("elements and cutoff of the packed weights", file);
  return {};
}

Metadata metadata_of(const Json &content, const std::string &file) {
  Metadata metadata;
  metadata.format_version = taken(content, "format_version", &Json::integer);
  if (metadata.format_version > FORMAT_VERSION)
    throw ModelError("model file " + file + " has format version " +
                     std::to_string(metadata.format_version) + ", newer than " +
                     std::to_string(FORMAT_VERSION) +
                     " which is read here; update hesspot, and the LAMMPS "
                     "plugin with `hesspot lammps build`");
  if (const Json *const units = content.find("units")) {
    const std::string energy = taken(*units, "energy", &Json::text),
                      length = taken(*units, "length", &Json::text);
    if (energy != "eV" || length != "angstrom")
      throw ModelError("model file " + file + " has units " + energy + " and " +
                       length + "; only eV and angstrom are read" +
                       EXPORT_AGAIN);
  }
  metadata.elements = taken(content, "elements", &Json::texts);
  metadata.cutoff = taken(content, "cutoff", &Json::number);
  metadata.architecture =
      taken(content.at("architecture"), "name", &Json::text);
  metadata.weights_sha256 = taken(content, "weights_sha256", &Json::text);
  const Json *const jump = content.find("jump_at_cutoff");
  metadata.jump_at_cutoff =
      jump && taken(content, "jump_at_cutoff", &Json::boolean);
  return metadata;
}

/// Takes numbers of eight bytes from the record of the edges.
class EdgeReader {
public:
  explicit EdgeReader(std::string_view bytes) : rest_(bytes) {}

  template <typename T> std::vector<T> take(std::size_t count) {
    static_assert(sizeof(T) == 8);
    if (count > rest_.size() / 8)
      throw std::invalid_argument("fingerprint: its edges end too early");
    std::vector<T> values(count);
    if (count)
      std::memcpy(values.data(), rest_.data(), 8 * count);
    rest_.remove_prefix(8 * count);
    return values;
  }

  /// Indices below `limit`.
  std::vector<std::int64_t> indices(std::size_t count, std::size_t limit) {
    auto values = take<std::int64_t>(count);
    for (const auto value : values)
      if (value < 0 || static_cast<std::size_t>(value) >= limit)
        throw std::invalid_argument("fingerprint: an edge ends nowhere");
    return values;
  }

private:
  std::string_view rest_;
};

Vector vector_of(const Json &row) {
  if (row.items().size() != 3)
    throw std::invalid_argument("a row has not three numbers");
  return {row.items()[0].number(), row.items()[1].number(),
          row.items()[2].number()};
}

std::vector<Vector> vectors_of(const Json &stored, const char *name,
                               std::size_t n) {
  return taken(stored, name, [&](const Json &rows) {
    std::vector<Vector> vectors;
    for (const Json &row : rows.items())
      vectors.push_back(vector_of(row));
    if (vectors.size() != n)
      throw std::invalid_argument("there are " +
                                  std::to_string(vectors.size()) +
                                  " rows for " + std::to_string(n));
    return vectors;
  });
}

FingerprintEntry entry_of(const Json &stored, EdgeReader &edges,
                          std::size_t n_elements) {
  FingerprintEntry entry;
  entry.name = taken(stored, "name", &Json::text);
  const auto sizes = edges.take<std::int64_t>(2);
  const auto n_atoms = static_cast<std::size_t>(sizes[0]),
             n_edges = static_cast<std::size_t>(sizes[1]);
  entry.species = edges.indices(n_atoms, n_elements);
  entry.centers = edges.indices(n_edges, n_atoms);
  entry.ends = edges.indices(n_edges, n_atoms);
  entry.vectors = edges.take<double>(3 * n_edges);
  entry.first_edge.assign(n_atoms + 1, 0);
  for (std::size_t e = 0; e < n_edges; e++) {
    if (e && entry.centers[e] < entry.centers[e - 1])
      throw std::invalid_argument(
          "fingerprint: its edges are not sorted by centre");
    entry.first_edge[static_cast<std::size_t>(entry.centers[e]) + 1]++;
    entry.neighbor_species.push_back(
        entry.species[static_cast<std::size_t>(entry.ends[e])]);
  }
  for (std::size_t c = 0; c < n_atoms; c++)
    entry.first_edge[c + 1] += entry.first_edge[c];
  entry.energy = taken(stored, "energy", &Json::number);
  entry.virial = vectors_of(stored, "virial", 3);
  entry.forces = vectors_of(stored, "forces", n_atoms);
  entry.directions = vectors_of(stored, "directions", n_atoms);
  entry.products = vectors_of(stored, "hvp", n_atoms);
  return entry;
}

} // namespace

ModelFile::ModelFile(std::string content, std::string name)
    : name_(std::move(name)), archive_(std::move(content), name_) {
  const auto *const text = archive_.find(METADATA);
  if (!text)
    throw ModelError("model file " + name_ + " is an archive without " +
                     METADATA_NAME +
                     ", so no hesspot model; make one with `hesspot export`");
  reading(name_, [&] {
    const Json json = Json::parse(*text);
    metadata_ = metadata_of(json, name_);
    check_own_hash(archive_, metadata_.format_version, name_);
    const std::string without =
        "architecture " + metadata_.architecture + " has no kernel";
    if (metadata_.format_version == 1) {
      no_kernel_ = metadata_.architecture == "torchscript"
                       ? without
                       : "it was written before files held packed weights: "
                         "write it anew with `hesspot export OLD NEW`";
      return;
    }
    check_hashes(archive_, json, metadata_, name_);
    const Json &shape = json.at("shape");
    no_kernel_ = shape.is_null() ? without
                                 : check_weights(archive_.at(WEIGHTS), shape,
                                                 metadata_, name_);
    if (const Json &stated = json.at("no_kernel"); !stated.is_null())
      no_kernel_ = stated.text();
  });
}

std::unique_ptr<KernelModel> ModelFile::kernel(bool single_precision) const {
  if (!no_kernel_.empty())
    throw NoKernel(no_kernel_);
  try {
    return make_model(archive_.at(WEIGHTS), single_precision);
  } catch (const NoKernel &reason) {
    throw NoKernel(std::string(PACKED) + reason.what());
  } catch (const std::invalid_argument &error) {
    throw damaged_weights(error.what(), name_);
  }
}

std::vector<FingerprintEntry> ModelFile::fingerprint() const {
  if (metadata_.format_version == 1)
    throw ModelError(
        "model file " + name_ +
        " was written before files held the edges of their "
        "fingerprint, so that it cannot be verified here; write it "
        "anew with `hesspot export OLD NEW`");
  return reading(name_, [&] {
    std::vector<FingerprintEntry> fingerprint;
    EdgeReader edges(archive_.at(EDGES));
    const Json json = Json::parse(archive_.at(METADATA));
    for (const Json &stored : json.at("fingerprint").items())
      fingerprint.push_back(entry_of(stored, edges, metadata_.elements.size()));
    if (fingerprint.empty())
      throw ModelError("model file " + name_ + " has no fingerprint to verify" +
                       EXPORT_AGAIN);
    return fingerprint;
  });
}

} // namespace hesspot
