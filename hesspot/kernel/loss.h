// SPDX-License-Identifier: MIT
//
// The loss of labelled structures, and its gradient with respect to the
// weights: all of a step of training but the optimizer.

#ifndef HESSPOT_LOSS_H
#define HESSPOT_LOSS_H

#include "hesspot_kernel.h"
#include "kernel_model.h"

#include <cstddef>

namespace hesspot {

/// What `hesspot_model_add_loss_gradient` does. std::invalid_argument for
/// structures that cannot be.
void add_loss_gradient(const KernelModel &model,
                       const hesspot_labelled *structures,
                       std::size_t n_structures, std::size_t max_edges,
                       double *weight_gradient, double *terms);

} // namespace hesspot

#endif
