// SPDX-License-Identifier: GPL-2.0-or-later

#ifndef HESSPOT_HOUSE_MODEL_H
#define HESSPOT_HOUSE_MODEL_H

#include <hesspot/model.h>

#include "block.h"

namespace hesspot {

/// A house model, or a committee of them, that is evaluated by its kernel, on the CPU. ModelError if the packed weights
/// are damaged or have another shape.
std::unique_ptr<Model> make_house(const std::string &block, const HouseShape &shape, const Options &options,
                                  const std::string &name);

}  // namespace hesspot

#endif
