// SPDX-License-Identifier: GPL-2.0-or-later

#ifndef HESSPOT_ARCHIVE_H
#define HESSPOT_ARCHIVE_H

#include <map>
#include <string>

namespace hesspot {

/// The records of a model file by their names, read without running any of its code.
using Archive = std::map<std::string, std::string>;

/// ModelError, in one sentence, for what is no whole archive. `file` stands for the file in messages.
Archive read_archive(const std::string &content, const std::string &file);

}  // namespace hesspot

#endif
