// SPDX-License-Identifier: MIT
//
// The house model's kernel as C functions, for hesspot/kernel/__init__.py.

#include "house.h"

#include <exception>

using namespace hesspot;

namespace {

std::vector<double> taken(const double *&next, std::size_t count) {
  const std::vector<double> values(next, next + count);
  next += count;
  return values;
}

HouseEdges view(std::int64_t n_centers, const std::int64_t *species,
                const std::int64_t *first_edge,
                const std::int64_t *neighbor_species, const double *vectors) {
  static_assert(sizeof(std::size_t) == sizeof(std::int64_t));
  return {static_cast<std::size_t>(n_centers), species,
          reinterpret_cast<const std::size_t *>(first_edge), neighbor_species,
          vectors};
}

} // namespace

extern "C" {

/// A model, or null if the sizes do not fit. `weights` holds for each
/// description scale, mix, shifts, mean, inverse deviation and, for each
/// element of each of its `n_members` members, weight and bias of the hidden
/// layers of `widths` and of the readout, and the linear part, one after
/// another.
void *hesspot_house_new(int n_descriptions, int n_members, int n_elements,
                        int n_radial, int n_channels, int n_descriptors,
                        int n_hidden, const int *widths, double cutoff,
                        const double *weights, int single_precision) {
  try {
    const auto S = static_cast<std::size_t>(n_elements),
               K = static_cast<std::size_t>(n_radial),
               C = static_cast<std::size_t>(n_channels),
               D = static_cast<std::size_t>(n_descriptors);
    HouseWeights house;
    house.n_elements = n_elements;
    house.n_radial = n_radial;
    house.n_channels = n_channels;
    house.cutoff = cutoff;
    for (int i = 0; i < n_descriptions; i++) {
      Description description;
      description.scale = *weights++;
      description.mix = taken(weights, 4 * S * S * K * C);
      description.shifts = taken(weights, S);
      description.mean = taken(weights, S * D);
      description.inverse_deviation = taken(weights, S * D);
      for (int n = 0; n < n_members * n_elements; n++) {
        Network network;
        std::size_t width = D;
        for (int l = 0; l < n_hidden; l++) {
          const auto next = static_cast<std::size_t>(widths[l]);
          Layer layer;
          layer.weight = taken(weights, width * next);
          layer.bias = taken(weights, next);
          network.hidden.push_back(std::move(layer));
          width = next;
        }
        network.readout.weight = taken(weights, width);
        network.readout.bias = taken(weights, 1);
        network.linear = taken(weights, D);
        description.networks.push_back(std::move(network));
      }
      house.descriptions.push_back(std::move(description));
    }
    return new House(house, single_precision != 0);
  } catch (const std::exception &) {
    return nullptr;
  }
}

void hesspot_house_delete(void *model) { delete static_cast<House *>(model); }

void hesspot_house_set_threads(void *model, int threads) {
  static_cast<House *>(model)->set_threads(static_cast<std::size_t>(threads));
}

/// 0, or 1 if memory ran out. Edges are sorted by centre; first_edge has
/// n_centers + 1 entries.
int hesspot_house_evaluate(const void *model, std::int64_t n_centers,
                           const std::int64_t *species,
                           const std::int64_t *first_edge,
                           const std::int64_t *neighbor_species,
                           const double *vectors, double *energies,
                           double *gradient) {
  try {
    static_cast<const House *>(model)->evaluate(
        view(n_centers, species, first_edge, neighbor_species, vectors),
        energies, gradient);
    return 0;
  } catch (const std::exception &) {
    return 1;
  }
}

int hesspot_house_hvp(const void *model, std::int64_t n_centers,
                      const std::int64_t *species,
                      const std::int64_t *first_edge,
                      const std::int64_t *neighbor_species,
                      const double *vectors, const double *directions,
                      double *products) {
  try {
    static_cast<const House *>(model)->hvp(
        view(n_centers, species, first_edge, neighbor_species, vectors),
        directions, products);
    return 0;
  } catch (const std::exception &) {
    return 1;
  }
}

/// As evaluate, of each member: energies (n_members, n_centers), gradient
/// (n_members, 3 n_edges).
int hesspot_house_members(const void *model, std::int64_t n_centers,
                          const std::int64_t *species,
                          const std::int64_t *first_edge,
                          const std::int64_t *neighbor_species,
                          const double *vectors, double *energies,
                          double *gradient) {
  try {
    static_cast<const House *>(model)->members(
        view(n_centers, species, first_edge, neighbor_species, vectors),
        energies, gradient);
    return 0;
  } catch (const std::exception &) {
    return 1;
  }
}

/// Name of the instruction set that is used.
const char *hesspot_house_instructions() { return house_kernel().name; }
}
