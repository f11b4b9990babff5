// SPDX-License-Identifier: GPL-2.0-or-later

#ifndef HESSPOT_KERNEL_BACKEND_H
#define HESSPOT_KERNEL_BACKEND_H

#include "metadata.h"

#include <hesspot/model.h>

namespace hesspot {

/// A model evaluated by a kernel from the packed weights of its file, on the CPU. NoKernel (block.h) for weights that
/// no kernel evaluates, ModelError for damaged ones.
std::unique_ptr<Model> load_kernel(const std::string &block, const Metadata &metadata, const std::string &name,
                                   const Options &options);

}  // namespace hesspot

#endif
