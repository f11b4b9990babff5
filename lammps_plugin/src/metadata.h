// SPDX-License-Identifier: GPL-2.0-or-later

#ifndef HESSPOT_METADATA_H
#define HESSPOT_METADATA_H

#include "fingerprint.h"

#include <string>
#include <vector>

namespace hesspot {

/// Name of the metadata file inside a model file.
inline constexpr const char *METADATA_NAME = "hesspot.json";

/// Newest format of the exported file that this library reads.
inline constexpr int FORMAT_VERSION = 1;

/// What an engine needs to know of `hesspot.json`.
struct Metadata {
  std::vector<std::string> elements;
  double cutoff;             ///< Angstrom
  std::string architecture;  ///< "house" and its committees have a kernel
};

/// ModelError if the text is no metadata of a model, has a newer format, or other units than eV and Angstrom.
Metadata parse_metadata(const std::string &text, const std::string &file);

/// The stored structures and answers of the trained model. ModelError if an entry is incomplete.
std::vector<FingerprintEntry> parse_fingerprint(const std::string &text, const std::string &file);

}  // namespace hesspot

#endif
