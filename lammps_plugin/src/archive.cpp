// SPDX-License-Identifier: GPL-2.0-or-later

#include "archive.h"

#include <hesspot/model.h>

#include <caffe2/serialize/in_memory_adapter.h>
#include <caffe2/serialize/inline_container.h>

namespace hesspot {

Archive read_archive(const std::string &content, const std::string &file)
{
  const ModelError damaged("model file " + file +
                           " is no TorchScript archive, or is truncated or damaged; export it again with "
                           "`hesspot export`");
  // the last part of an archive is its directory, which a truncated file lacks
  if (content.rfind("PK\x05\x06") == std::string::npos) throw damaged;
  Archive archive;
  try {
    caffe2::serialize::PyTorchStreamReader reader(
        std::make_shared<caffe2::serialize::MemoryReadAdapter>(content.data(), static_cast<off_t>(content.size())));
    for (const auto &name : reader.getAllRecords()) {
      const auto [data, size] = reader.getRecord(name);
      if (!archive.emplace(name, std::string(static_cast<const char *>(data.get()), size)).second) throw damaged;
    }
  } catch (const std::exception &) {
    throw damaged;
  }
  return archive;
}

}  // namespace hesspot
