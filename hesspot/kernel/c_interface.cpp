// SPDX-License-Identifier: MIT

#include "hesspot_kernel.h"

#include "block.h"
#include "guarded.h"
#include "loss.h"
#include "soap.h"
#include "views.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

using namespace hesspot;

namespace {

constexpr const char *PACKED_WEIGHTS = "the packed weights ";

Edges view(const hesspot_edges &edges) {
  const auto *const first_edge =
      first_edges(edges.n_centers, edges.n_edges, edges.first_edge, "centres");
  return {static_cast<std::size_t>(edges.n_centers), edges.species, first_edge,
          edges.neighbor_species, edges.vectors};
}

/// The status of what `work` does with packed weights.
template <typename Work> int reading(const char **error, Work work) {
  return guarded(error, [&] {
    try {
      work();
    } catch (const NoKernel &cause) {
      throw NoKernel(std::string(PACKED_WEIGHTS) + cause.what());
    } catch (const std::invalid_argument &cause) {
      throw std::invalid_argument(std::string(PACKED_WEIGHTS) + cause.what());
    }
  });
}

void need_weights(const KernelModel &model) {
  if (!model.n_weights())
    throw std::invalid_argument("a model in single precision, or whose kernel "
                                "does not train it, has no weights to give");
}

/// The matrices of a stack, behind those that are there.
template <typename Real>
void append(std::vector<SoapMatrix<Real>> &matrices,
            const hesspot_soap_stack &stack) {
  const auto rows = static_cast<std::size_t>(stack.rows),
             columns = static_cast<std::size_t>(stack.columns),
             rank = static_cast<std::size_t>(stack.rank),
             in_bases = rows * (stack.left ? rank : columns);
  for (std::size_t i = 0; i < static_cast<std::size_t>(stack.count); i++) {
    const auto own = [i](auto *all, std::size_t size) {
      using Kept = std::conditional_t<
          std::is_const_v<std::remove_pointer_t<decltype(all)>>, const Real,
          Real>;
      return all ? static_cast<Kept *>(all) + i * size : nullptr;
    };
    matrices.push_back(
        {rows, columns, rank, stack.transposed != 0,
         stack.weights + i * rows * columns,
         stack.gradient + i * rows * columns, own(stack.left, rows * rows),
         own(stack.right, rank * columns), own(stack.mean, in_bases),
         own(stack.square, in_bases), own(stack.beyond_mean, rows * columns),
         own(stack.beyond_square, rows * columns),
         own(stack.left_square, rows * rows),
         own(stack.right_square, rank * columns)});
  }
}

template <typename Real>
void step_stacks(const hesspot_soap_stack *stacks, std::int64_t n_stacks,
                 const SoapStep &step, std::size_t threads) {
  std::vector<SoapMatrix<Real>> matrices;
  for (std::int64_t i = 0; i < n_stacks; i++) {
    const hesspot_soap_stack &own = stacks[i];
    if (own.count < 1 || own.rows < 1 || own.rank < 1 ||
        own.columns < std::max(own.rows, own.rank))
      throw std::invalid_argument(
          "stack " + std::to_string(i) + " has " + std::to_string(own.count) +
          " matrices of " + std::to_string(own.rows) + " rows and " +
          std::to_string(own.columns) + " columns with a basis of " +
          std::to_string(own.rank) +
          "; there must be one of each, and no more rows or directions than "
          "columns");
    append(matrices, own);
  }
  soap_step(matrices.data(), matrices.size(), step, threads);
}

} // namespace

extern "C" {

int hesspot_abi() { return HESSPOT_ABI; }

const char *hesspot_kernel_interface() { return HESSPOT_KERNEL_INTERFACE; }

const char *hesspot_instruction_sets() { return instruction_sets(); }

const char *hesspot_architectures() {
  static const auto names = [] {
    std::string all;
    for (const Architecture *const one : all_architectures())
      all += (all.empty() ? "" : " ") + std::string(one->magic);
    return all;
  }();
  return names.c_str();
}

int hesspot_version(const char *magic) {
  for (const Architecture *const one : all_architectures())
    if (one->magic == std::string_view(magic, one->magic.size()))
      return one->version;
  return 0;
}

int hesspot_shape(const char *block, std::int64_t size, const char **shape,
                  const char **error) {
  return reading(error, [&] {
    thread_local std::string text;
    text = shape_of({block, static_cast<std::size_t>(size)});
    *shape = text.c_str();
  });
}

int hesspot_model_new(const char *block, std::int64_t size,
                      int single_precision, void **model, const char **error) {
  return reading(error, [&] {
    *model = make_model({block, static_cast<std::size_t>(size)},
                        single_precision != 0)
                 .release();
  });
}

int hesspot_model_n_members(const void *model) {
  return kernel(model).n_members();
}

const char *hesspot_model_element(const void *model, int index) {
  const auto &elements = kernel(model).elements();
  return index >= 0 && static_cast<std::size_t>(index) < elements.size()
             ? elements[static_cast<std::size_t>(index)].c_str()
             : nullptr;
}

double hesspot_model_cutoff(const void *model) {
  return kernel(model).cutoff();
}

void hesspot_model_delete(void *model) {
  delete static_cast<KernelModel *>(model);
}

const char *hesspot_model_instructions(const void *model) {
  return kernel(model).instructions();
}

int hesspot_model_set_threads(void *model, int threads, const char **error) {
  return guarded(error, [&] {
    if (threads < 1)
      throw std::invalid_argument(std::to_string(threads) +
                                  " threads cannot be; give 1 or more");
    static_cast<KernelModel *>(model)->set_threads(
        static_cast<std::size_t>(threads));
  });
}

std::int64_t hesspot_edges_size() { return sizeof(hesspot_edges); }

int hesspot_model_evaluate(const void *model, const hesspot_edges *edges,
                           double *energies, double *gradient,
                           const char **error) {
  return guarded(
      error, [&] { kernel(model).evaluate(view(*edges), energies, gradient); });
}

int hesspot_model_members(const void *model, const hesspot_edges *edges,
                          double *energies, double *gradient,
                          const char **error) {
  return guarded(
      error, [&] { kernel(model).members(view(*edges), energies, gradient); });
}

int hesspot_model_hvp(const void *model, const hesspot_edges *edges,
                      const double *directions, double *products,
                      const char **error) {
  return guarded(
      error, [&] { kernel(model).hvp(view(*edges), directions, products); });
}

int hesspot_model_n_descriptors(const void *model) {
  return kernel(model).n_descriptors();
}

int hesspot_model_descriptors(const void *model, const hesspot_edges *edges,
                              double *descriptors, const char **error) {
  return guarded(error, [&] {
    if (!kernel(model).n_descriptors())
      throw std::invalid_argument("a model in single precision, or whose "
                                  "kernel has none, has no descriptors to "
                                  "give");
    kernel(model).descriptors(view(*edges), descriptors);
  });
}

int hesspot_model_n_weights(const void *model) {
  return kernel(model).n_weights();
}

int hesspot_model_place_weights(void *model, const std::int64_t *places,
                                const char **error) {
  return guarded(error, [&] {
    need_weights(kernel(model));
    static_cast<KernelModel *>(model)->place_weights(places);
  });
}

int hesspot_model_set_weights(void *model, const double *weights,
                              const char **error) {
  return guarded(error, [&] {
    need_weights(kernel(model));
    static_cast<KernelModel *>(model)->set_weights(weights);
  });
}

std::int64_t hesspot_labelled_size() { return sizeof(hesspot_labelled); }

int hesspot_model_add_loss_gradient(const void *model,
                                    const hesspot_labelled *structures,
                                    std::int64_t n_structures,
                                    std::int64_t max_edges,
                                    double *weight_gradient, double *terms,
                                    const char **error) {
  return guarded(error, [&] {
    need_weights(kernel(model));
    if (n_structures < 0 || max_edges < 1)
      throw std::invalid_argument(
          std::to_string(n_structures) + " structures with at most " +
          std::to_string(max_edges) + " edges at once cannot be");
    add_loss_gradient(
        kernel(model), structures, static_cast<std::size_t>(n_structures),
        static_cast<std::size_t>(max_edges), weight_gradient, terms);
  });
}

int hesspot_soap_step(const hesspot_soap_stack *stacks, int64_t n_stacks,
                      int single_precision, double memory,
                      double memory_of_squares, double unbias, double epsilon,
                      double rate, double decay, int threads,
                      const char **error) {
  return guarded(error, [&] {
    if (threads < 1)
      throw std::invalid_argument(std::to_string(threads) +
                                  " threads cannot be; there must be one");
    const SoapStep step = {memory, memory_of_squares, unbias, epsilon, rate,
                           decay};
    (single_precision ? step_stacks<float>
                      : step_stacks<double>)(stacks, n_stacks, step,
                                             static_cast<std::size_t>(threads));
  });
}

int64_t hesspot_soap_stack_size(void) { return sizeof(hesspot_soap_stack); }
}
