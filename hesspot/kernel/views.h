// SPDX-License-Identifier: MIT
//
// Arguments of the functions of hesspot_kernel.h as the library takes them.

#ifndef HESSPOT_VIEWS_H
#define HESSPOT_VIEWS_H

#include "kernel_model.h"

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace hesspot {

inline const KernelModel &kernel(const void *model) {
  return *static_cast<const KernelModel *>(model);
}

/// first_edge of `n` centres, which the header calls `called`, as the kernels
/// take it; std::invalid_argument if it does not end at n_edges.
inline const std::size_t *first_edges(std::int64_t n, std::int64_t n_edges,
                                      const std::int64_t *first_edge,
                                      const std::string &called) {
  static_assert(sizeof(std::size_t) == sizeof(std::int64_t));
  if (n < 0 || n_edges < 0)
    throw std::invalid_argument(
        std::to_string(n) + " " + called + " with " + std::to_string(n_edges) +
        " edges cannot be; neither number may be below zero");
  if (const auto end = first_edge[n]; end != n_edges)
    throw std::invalid_argument("the edges of the " + called + " end at " +
                                std::to_string(end) + ", but there are " +
                                std::to_string(n_edges) +
                                "; first_edge must rise from 0 to that");
  return reinterpret_cast<const std::size_t *>(first_edge);
}

} // namespace hesspot

#endif
