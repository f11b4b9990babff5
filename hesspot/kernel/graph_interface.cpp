// SPDX-License-Identifier: MIT

#include "hesspot_kernel.h"

#include "graph.h"
#include "guarded.h"

using namespace hesspot;

namespace {

Graph view(const hesspot_graph &graph) {
  static_assert(sizeof(std::size_t) == sizeof(std::int64_t));
  if (graph.n_atoms < 0 || graph.n_edges < 0)
    throw std::invalid_argument(
        std::to_string(graph.n_atoms) + " atoms with " +
        std::to_string(graph.n_edges) +
        " edges cannot be; neither number may be below zero");
  if (const auto end = graph.first_edge[graph.n_atoms]; end != graph.n_edges)
    throw std::invalid_argument("the edges of the atoms end at " +
                                std::to_string(end) + ", but there are " +
                                std::to_string(graph.n_edges) +
                                "; first_edge must rise from 0 to that");
  return {static_cast<std::size_t>(graph.n_atoms), graph.species,
          reinterpret_cast<const std::size_t *>(graph.first_edge),
          graph.neighbors, graph.vectors};
}

const KernelModel &kernel(const void *model) {
  return *static_cast<const KernelModel *>(model);
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
