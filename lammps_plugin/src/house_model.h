// SPDX-License-Identifier: GPL-2.0-or-later

#ifndef HESSPOT_HOUSE_MODEL_H
#define HESSPOT_HOUSE_MODEL_H

#include <hesspot/model.h>

#include "house.h"

namespace hesspot {

/// A house model, or a committee of them, that is evaluated by its kernel, on the CPU. ModelError if the sizes of the
/// weights do not fit together.
std::unique_ptr<Model> make_house(std::vector<std::string> elements, const HouseWeights &weights,
                                  const Options &options, const std::string &name);

}  // namespace hesspot

#endif
