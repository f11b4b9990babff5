// SPDX-License-Identifier: GPL-2.0-or-later

#ifndef HESSPOT_TORCHSCRIPT_H
#define HESSPOT_TORCHSCRIPT_H

#include "metadata.h"

#include <hesspot/model.h>

namespace hesspot {

/// A model evaluated by the TorchScript of its file, which is a program.
std::unique_ptr<Model> load_script(const std::string &content, const Metadata &metadata, const std::string &name,
                                   const Options &options);

}  // namespace hesspot

#endif
