// SPDX-License-Identifier: MIT
//
// The house model's kernel as C functions, for hesspot/kernel/__init__.py.

#include "block.h"

#include <cstdio>
#include <exception>

using namespace hesspot;

namespace {

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

/// A model of packed weights, or null and a message of at most `room` bytes,
/// in words that follow "the packed weights".
void *hesspot_house_new(const char *block, std::int64_t size,
                        int single_precision, char *message,
                        std::int64_t room) {
  try {
    const auto read = unpack({block, static_cast<std::size_t>(size)});
    return new House(read.weights, single_precision != 0);
  } catch (const std::exception &error) {
    std::snprintf(message, static_cast<std::size_t>(room), "%s", error.what());
    return nullptr;
  }
}

int hesspot_house_n_members(const void *model) {
  return static_cast<const House *>(model)->n_members();
}

int hesspot_house_version() { return KERNEL_VERSION; }

int hesspot_house_envelope_power() { return ENVELOPE_POWER; }

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
