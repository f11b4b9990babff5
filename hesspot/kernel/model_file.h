// SPDX-License-Identifier: MIT
//
// An exported file (docs/export.md), read and checked without running any of
// its code.

#ifndef HESSPOT_MODEL_FILE_H
#define HESSPOT_MODEL_FILE_H

#include "archive.h"
#include "fingerprint.h"
#include "kernel_model.h"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace hesspot {

inline constexpr const char *METADATA_NAME = "hesspot.json";
inline constexpr const char *METADATA = "extra/hesspot.json";
inline constexpr const char *WEIGHTS = "extra/hesspot.weights";
inline constexpr const char *EDGES = "extra/hesspot.edges";
inline constexpr const char *METADATA_HASH = "extra/hesspot.sha256";

/// Newest format that is read here; files of format 1 have no packed weights.
inline constexpr int FORMAT_VERSION = 2;

/// What an engine needs to know of the metadata.
struct Metadata {
  int format_version;
  std::vector<std::string> elements;
  double cutoff; ///< Angstrom
  std::string architecture;
  std::string weights_sha256;
  bool jump_at_cutoff;
};

class ModelFile {
public:
  /// The content of a file; `name` stands for it in messages. ModelError if it
  /// is no model, is damaged or changed, has a newer format, or other units
  /// than eV and Angstrom.
  ModelFile(std::string content, std::string name);

  const std::string &name() const { return name_; }
  const std::string &content() const { return archive_.content(); }
  const Archive &archive() const { return archive_; }
  const Metadata &metadata() const { return metadata_; }

  /// Why no kernel evaluates it; empty: one is to be tried.
  const std::string &no_kernel() const { return no_kernel_; }

  /// The kernel's model. NoKernel (block.h) for a file without one, ModelError
  /// for damaged weights.
  std::unique_ptr<KernelModel> kernel(bool single_precision) const;

  /// ModelError if there is none, or an entry is not whole.
  std::vector<FingerprintEntry> fingerprint() const;

private:
  std::string name_;
  Archive archive_;
  Metadata metadata_;
  std::string no_kernel_;
};

} // namespace hesspot

#endif
