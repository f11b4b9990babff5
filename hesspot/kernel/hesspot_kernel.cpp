// SPDX-License-Identifier: MIT

#include "hesspot_kernel.h"

#include "block.h"

#include <new>
#include <stdexcept>
#include <string>

using namespace hesspot;

namespace {

/// The status of what `work` does; what it throws becomes a sentence.
template <typename Work> int guarded(const char **error, Work work) {
  thread_local std::string text;
  int status = HESSPOT_SUCCESS;
  try {
    work();
  } catch (const std::bad_alloc &) {
    status = HESSPOT_NO_MEMORY;
    text.assign("memory ran out"); // short enough to need none
  } catch (const std::invalid_argument &cause) {
    status = HESSPOT_INVALID;
    text = cause.what();
  } catch (const std::exception &cause) {
    status = HESSPOT_FAILED;
    text = cause.what();
  }
  if (error)
    *error = status ? text.c_str() : nullptr;
  return status;
}

HouseEdges view(std::int64_t n_centers, std::int64_t n_edges,
                const std::int64_t *species, const std::int64_t *first_edge,
                const std::int64_t *neighbor_species, const double *vectors) {
  static_assert(sizeof(std::size_t) == sizeof(std::int64_t));
  if (n_centers < 0 || n_edges < 0)
    throw std::invalid_argument(
        std::to_string(n_centers) + " centres with " + std::to_string(n_edges) +
        " edges cannot be; neither number may be below zero");
  if (first_edge[n_centers] != n_edges)
    throw std::invalid_argument("the edges of the centres end at " +
                                std::to_string(first_edge[n_centers]) +
                                ", but there are " + std::to_string(n_edges) +
                                "; first_edge must rise from 0 to that");
  return {static_cast<std::size_t>(n_centers), species,
          reinterpret_cast<const std::size_t *>(first_edge), neighbor_species,
          vectors};
}

const KernelModel &kernel(const void *model) {
  return *static_cast<const KernelModel *>(model);
}

} // namespace

extern "C" {

const char *hesspot_kernel_interface() { return HESSPOT_KERNEL_INTERFACE; }

const char *hesspot_instruction_sets() { return instruction_sets(); }

int hesspot_house_version() { return KERNEL_VERSION; }

int hesspot_house_envelope_power() { return ENVELOPE_POWER; }

int hesspot_house_new(const char *block, std::int64_t size,
                      int single_precision, void **model, const char **error) {
  return guarded(error, [&] {
    try {
      *model = make_model({block, static_cast<std::size_t>(size)},
                          single_precision != 0)
                   .release();
    } catch (const std::invalid_argument &cause) {
      throw std::invalid_argument(std::string("the packed weights ") +
                                  cause.what());
    }
  });
}

int hesspot_house_n_members(const void *model) {
  return kernel(model).n_members();
}

void hesspot_house_delete(void *model) {
  delete static_cast<KernelModel *>(model);
}

const char *hesspot_house_instructions(const void *model) {
  return kernel(model).instructions();
}

int hesspot_house_set_threads(void *model, int threads, const char **error) {
  return guarded(error, [&] {
    if (threads < 1)
      throw std::invalid_argument(std::to_string(threads) +
                                  " threads cannot be; give 1 or more");
    static_cast<KernelModel *>(model)->set_threads(
        static_cast<std::size_t>(threads));
  });
}

int hesspot_house_evaluate(const void *model, std::int64_t n_centers,
                           std::int64_t n_edges, const std::int64_t *species,
                           const std::int64_t *first_edge,
                           const std::int64_t *neighbor_species,
                           const double *vectors, double *energies,
                           double *gradient, const char **error) {
  return guarded(error, [&] {
    kernel(model).evaluate(view(n_centers, n_edges, species, first_edge,
                                neighbor_species, vectors),
                           energies, gradient);
  });
}

int hesspot_house_members(const void *model, std::int64_t n_centers,
                          std::int64_t n_edges, const std::int64_t *species,
                          const std::int64_t *first_edge,
                          const std::int64_t *neighbor_species,
                          const double *vectors, double *energies,
                          double *gradient, const char **error) {
  return guarded(error, [&] {
    kernel(model).members(view(n_centers, n_edges, species, first_edge,
                               neighbor_species, vectors),
                          energies, gradient);
  });
}

int hesspot_house_hvp(const void *model, std::int64_t n_centers,
                      std::int64_t n_edges, const std::int64_t *species,
                      const std::int64_t *first_edge,
                      const std::int64_t *neighbor_species,
                      const double *vectors, const double *directions,
                      double *products, const char **error) {
  return guarded(error, [&] {
    kernel(model).hvp(view(n_centers, n_edges, species, first_edge,
                           neighbor_species, vectors),
                      directions, products);
  });
}
}
