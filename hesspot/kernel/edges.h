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

/// What a loss depends on through the model, of one member: the sum over the
/// centres of energies * E and over the edges of gradient * g + products * H v,
/// with g and H v as `differentiate` gives them.
struct LossSlopes {
  const double *energies;   ///< (n_centers) or null
  const double *gradient;   ///< (3 n_edges) or null
  const double *directions; ///< v (3 n_edges) or null
  const double *products;   ///< (3 n_edges), null where `directions` is
};

/// Some centres of one element.
struct SameCenters {
  int species;
  const std::size_t *centers;
  std::size_t count;
};

} // namespace hesspot

#endif
