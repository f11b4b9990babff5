// SPDX-License-Identifier: MIT

#include "hesspot_kernel.h"

#include "graph.h"
#include "guarded.h"
#include "views.h"

using namespace hesspot;

namespace {

Graph view(const hesspot_graph &graph) {
  const auto *const first_edge =
      first_edges(graph.n_atoms, graph.n_edges, graph.first_edge, "atoms");
  return {static_cast<std::size_t>(graph.n_atoms), graph.species, first_edge,
          graph.neighbors, graph.vectors};
}

} // namespace

extern "C" {

std::int64_t hesspot_graph_size() { return sizeof(hesspot_graph); }

int hesspot_model_answer(const void *model, const hesspot_graph *graph,
                         double *energy, double *energies, double *forces,
                         double *virial, double *virials, const char **error) {
  return guarded(error, [&] {
    answer(kernel(model), view(*graph), energy, energies, forces, virial,
           virials);
  });
}

int hesspot_model_products(const void *model, const hesspot_graph *graph,
                           const double *directions, double *products,
                           const char **error) {
  return guarded(error, [&] {
    hessian_products(kernel(model), view(*graph), directions, products);
  });
}

int hesspot_model_hessian(const void *model, const hesspot_graph *graph,
                          double *hessian, const char **error) {
  return guarded(
      error, [&] { hesspot::hessian(kernel(model), view(*graph), hessian); });
}
}
