// SPDX-License-Identifier: MIT
//
// Quantities of atoms, from what a model gives for the edges of all of them.

#ifndef HESSPOT_GRAPH_H
#define HESSPOT_GRAPH_H

#include "kernel_model.h"

#include <cstddef>
#include <cstdint>

namespace hesspot {

/// Atoms, all of them centres, and edges sorted by centre: those of centre c
/// are first_edge[c] ... first_edge[c + 1] - 1.
struct Graph {
  std::size_t n_atoms;
  const std::int64_t *species;   ///< (n_atoms)
  const std::size_t *first_edge; ///< (n_atoms + 1)
  const std::int64_t *neighbors; ///< (n_edges) atoms
  const double *vectors;         ///< (3 n_edges)
};

// All: std::invalid_argument for neighbours that are no atoms, and as
// KernelModel's. Sums run over the edges in their order, so that equal edges
// give equal bits wherever they are summed in this way.

/// energy (1), energies (n_atoms), forces (3 n_atoms), virial (9) = -sum of
/// vector times gradient, and virials (9 n_atoms), its parts by neighbours, or
/// null.
void answer(const KernelModel &model, const Graph &graph, double *energy,
            double *energies, double *forces, double *virial, double *virials);

/// Products (3 n_atoms) of the Hessian with directions (3 n_atoms).
void hessian_products(const KernelModel &model, const Graph &graph,
                      const double *directions, double *products);

/// The Hessian (3 n_atoms, 3 n_atoms), the same to the last bit across the
/// diagonal, and whatever the number of threads.
void hessian(const KernelModel &model, const Graph &graph, double *hessian);

} // namespace hesspot

#endif
