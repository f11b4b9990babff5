// SPDX-License-Identifier: GPL-2.0-or-later

#ifndef HESSPOT_METADATA_H
#define HESSPOT_METADATA_H

#include "archive.h"
#include "fingerprint.h"

#include <string>
#include <vector>

namespace hesspot {

inline constexpr const char *METADATA_NAME = "hesspot.json";
inline constexpr const char *METADATA = "extra/hesspot.json";
inline constexpr const char *WEIGHTS = "extra/hesspot.weights";
inline constexpr const char *EDGES = "extra/hesspot.edges";
inline constexpr const char *METADATA_HASH = "extra/hesspot.sha256";

/// Newest format of the exported file that this library reads; files of format 1 have no packed weights.
inline constexpr int FORMAT_VERSION = 2;

/// What an engine needs to know of `hesspot.json`.
struct Metadata {
  int format_version;
  std::vector<std::string> elements;
  double cutoff;  ///< Angstrom
  std::string architecture;
  std::string weights_sha256;
  bool jump_at_cutoff;
  std::string no_kernel;  ///< why no kernel evaluates it; empty: one is to be tried
};

/// ModelError if the archive is no model, is changed, has a newer format, or other units than eV and Angstrom.
Metadata read_metadata(const Archive &archive, const std::string &file);

/// What a damaged block of packed weights is, in words that follow "the packed weights".
ModelError damaged_weights(const std::string &problem, const std::string &file);

/// The stored structures and answers of the trained model. ModelError if an entry is incomplete.
std::vector<FingerprintEntry> read_fingerprint(const Archive &archive, const Metadata &metadata,
                                               const std::string &file);

}  // namespace hesspot

#endif
