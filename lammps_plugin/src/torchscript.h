// SPDX-License-Identifier: GPL-2.0-or-later
//
// The backend of TorchScript: a library of its own, opened when a model needs it.

#ifndef HESSPOT_TORCHSCRIPT_H
#define HESSPOT_TORCHSCRIPT_H

#include <hesspot/model.h>

#include "model_file.h"

namespace hesspot {

/// What libhesspot_torchscript.so gives, by its function hesspot_torchscript().
struct TorchScript {
  /// A model evaluated by the TorchScript of its file, which is a program.
  std::unique_ptr<Model> (*load)(const ModelFile &file, const Options &options);

  /// GPUs that torch can use in this process.
  int (*n_cuda_devices)();
};

/// The backend; `why` it is needed begins the sentence of the ModelError if it is not there, or not for this torch. It
/// stays open for good.
const TorchScript &torchscript(const std::string &why);

}  // namespace hesspot

#endif
