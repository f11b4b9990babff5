// SPDX-License-Identifier: MIT
//
// What every kernel takes. Kernels include it for one instruction set each: no
// code of the standard library here.

#ifndef HESSPOT_EDGES_H
#define HESSPOT_EDGES_H

#include <cstddef>
#include <cstdint>

namespace hesspot {

/// Edges of `n_centers` centres; those of centre c are first_edge[c] ...
/// first_edge[c + 1] - 1.
struct Edges {
  std::size_t n_centers;
  const std::int64_t *species;          ///< (n_centers)
  const std::size_t *first_edge;        ///< (n_centers + 1)
  const std::int64_t *neighbor_species; ///< (n_edges)
  const double *vectors;                ///< (3 n_edges)
};

} // namespace hesspot

#endif
