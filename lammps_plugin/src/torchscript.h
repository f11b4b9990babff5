// SPDX-License-Identifier: GPL-2.0-or-later

#ifndef HESSPOT_TORCHSCRIPT_H
#define HESSPOT_TORCHSCRIPT_H

#include <hesspot/model.h>

namespace hesspot {

/// A model from the content of a TorchScript archive, evaluated by the backend that the options ask for.
std::unique_ptr<Model> load_archive(const std::string &content, const std::string &name, const Options &options);

}  // namespace hesspot

#endif
