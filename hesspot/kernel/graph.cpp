// SPDX-License-Identifier: MIT

#include "graph.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

namespace hesspot {
namespace {

/// The checked edges of all atoms, with the species of the neighbours in
/// `species`.
Edges edges_of(const KernelModel &model, const Graph &graph,
               std::vector<std::int64_t> &species) {
  const std::size_t n_edges = graph.first_edge[graph.n_atoms];
  species.resize(n_edges);
  for (std::size_t e = 0; e < n_edges; e++) {
    const auto neighbor = static_cast<std::size_t>(graph.neighbors[e]);
    if (neighbor >= graph.n_atoms)
      throw std::invalid_argument(
          "neighbour " + std::to_string(graph.neighbors[e]) + " of edge " +
          std::to_string(e) + " is none of the " +
          std::to_string(graph.n_atoms) + " atoms; give their indices, from 0");
    species[e] = graph.species[neighbor];
  }
  const Edges edges = {graph.n_atoms, graph.species, graph.first_edge,
                       species.data(), graph.vectors};
  model.check(edges);
  return edges;
}

/// Calls visit(edge, its centre, its neighbour) in the order of the edges.
template <typename Visit> void for_edges(const Graph &graph, Visit visit) {
  for (std::size_t c = 0; c < graph.n_atoms; c++)
    for (std::size_t e = graph.first_edge[c]; e < graph.first_edge[c + 1]; e++)
      visit(e, c, static_cast<std::size_t>(graph.neighbors[e]));
}

} // namespace

void answer(const KernelModel &model, const Graph &graph, double *energy,
            double *energies, double *forces, double *virial, double *virials) {
  thread_local std::vector<std::int64_t> species;
  thread_local std::vector<double> gradient;
  const Edges edges = edges_of(model, graph, species);
  gradient.resize(3 * species.size());
  model.evaluate(edges, energies, gradient.data());
  *energy = 0.0;
  for (std::size_t c = 0; c < graph.n_atoms; c++)
    *energy += energies[c];
  std::fill_n(forces, 3 * graph.n_atoms, 0.0);
  std::fill_n(virial, 9, 0.0);
  if (virials)
    std::fill_n(virials, 9 * graph.n_atoms, 0.0);
  for_edges(graph, [&](std::size_t e, std::size_t c, std::size_t neighbor) {
    const double *const g = &gradient[3 * e], *const v = graph.vectors + 3 * e;
    for (std::size_t k = 0; k < 3; k++) {
      forces[3 * c + k] += g[k];
      forces[3 * neighbor + k] -= g[k];
      for (std::size_t j = 0; j < 3; j++) {
        virial[3 * k + j] -= v[k] * g[j];
        if (virials)
          virials[9 * neighbor + 3 * k + j] -= v[k] * g[j];
      }
    }
  });
}

void hessian_products(const KernelModel &model, const Graph &graph,
                      const double *directions, double *products) {
  thread_local std::vector<std::int64_t> species;
  thread_local std::vector<double> along, of_edges;
  const Edges edges = edges_of(model, graph, species);
  along.resize(3 * species.size());
  of_edges.resize(3 * species.size());
  for_edges(graph, [&](std::size_t e, std::size_t c, std::size_t neighbor) {
    for (std::size_t k = 0; k < 3; k++)
      along[3 * e + k] = directions[3 * neighbor + k] - directions[3 * c + k];
  });
  model.hvp(edges, along.data(), of_edges.data());
  std::fill_n(products, 3 * graph.n_atoms, 0.0);
  for_edges(graph, [&](std::size_t e, std::size_t c, std::size_t neighbor) {
    for (std::size_t k = 0; k < 3; k++) {
      products[3 * c + k] -= of_edges[3 * e + k];
      products[3 * neighbor + k] += of_edges[3 * e + k];
    }
  });
}

void hessian(const KernelModel &model, const Graph &graph, double *hessian) {
  thread_local std::vector<std::int64_t> species;
  const Edges edges = edges_of(model, graph, species);
  const std::size_t width = 3 * graph.n_atoms;
  std::fill_n(hessian, width * width, 0.0);
  // with each vector its centre moves backwards
  std::vector<std::size_t> seen;
  model.hessians(edges, [&](std::size_t c, const double *own) {
    const std::size_t first = graph.first_edge[c],
                      size = 3 * (graph.first_edge[c + 1] - first);
    seen.clear(); // images of the centre move along with it
    for (std::size_t e = 0; 3 * e < size; e++)
      if (static_cast<std::size_t>(graph.neighbors[first + e]) != c)
        seen.push_back(e);
    const auto at = [&](std::size_t row, std::size_t column) {
      return hessian + 3 * row * width + 3 * column;
    };
    double of_center[9] = {};
    for (const std::size_t e : seen) {
      const auto row = static_cast<std::size_t>(graph.neighbors[first + e]);
      double sum[9] = {};
      for (const std::size_t other : seen) {
        double *const target =
            at(row, static_cast<std::size_t>(graph.neighbors[first + other]));
        const double *const block = own + 3 * e * size + 3 * other;
        for (std::size_t i = 0; i < 3; i++)
          for (std::size_t j = 0; j < 3; j++) {
            target[i * width + j] += block[i * size + j];
            sum[3 * i + j] += block[i * size + j];
          }
      }
      double *const column = at(row, c), *const across = at(c, row);
      for (std::size_t i = 0; i < 3; i++)
        for (std::size_t j = 0; j < 3; j++) {
          column[i * width + j] -= sum[3 * i + j];
          across[j * width + i] -= sum[3 * i + j];
          of_center[3 * i + j] += sum[3 * i + j];
        }
    }
    double *const diagonal = at(c, c);
    for (std::size_t i = 0; i < 3; i++)
      for (std::size_t j = 0; j < 3; j++)
        diagonal[i * width + j] += of_center[3 * i + j];
  });
  // several images of an atom add in another order across the diagonal
  for (std::size_t row = 0; row < width; row++)
    for (std::size_t column = 0; column < row; column++)
      hessian[column * width + row] = hessian[row * width + column];
}

} // namespace hesspot
