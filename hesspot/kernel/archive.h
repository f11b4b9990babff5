// SPDX-License-Identifier: MIT
//
// The records of an exported file, which is a zip archive (docs/export.md).
// None of its code runs.

#ifndef HESSPOT_ARCHIVE_H
#define HESSPOT_ARCHIVE_H

#include "model_error.h"

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace hesspot {

class Archive {
public:
  /// ModelError for what is no whole zip archive, for a CRC-32 that does not
  /// fit, for encrypted records and those of zip64, and for a name that is
  /// there twice. `file` stands for the file in messages.
  Archive(std::string content, const std::string &file);

  /// All, by their names within the archive's folder.
  const std::map<std::string, std::string_view, std::less<>> &records() const {
    return records_;
  }

  /// Null if there is none of that name.
  const std::string_view *find(std::string_view name) const;

  /// std::invalid_argument if there is none of that name.
  std::string_view at(std::string_view name) const;

  const std::string &content() const { return *content_; }

private:
  // records point into these
  std::unique_ptr<std::string> content_;
  std::vector<std::unique_ptr<std::string>> unpacked_;
  std::map<std::string, std::string_view, std::less<>> records_;

  void read();
};

/// The content of the file at `path`. ModelError if it cannot be read.
std::string read_file(const std::string &path);

} // namespace hesspot

#endif
