// SPDX-License-Identifier: GPL-2.0-or-later

#ifndef HESSPOT_KERNEL_BACKEND_H
#define HESSPOT_KERNEL_BACKEND_H

#include <hesspot/model.h>

#include "model_file.h"

namespace hesspot {

/// A model evaluated by a kernel from the packed weights of its file, on the CPU. NoKernel (block.h) for a file that no
/// kernel evaluates, ModelError for damaged weights.
std::unique_ptr<Model> load_kernel(const ModelFile &file, const Options &options);

}  // namespace hesspot

#endif
