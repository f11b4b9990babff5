// SPDX-License-Identifier: MIT

#include "kernel_model.h"

#include "instruction_sets.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <stdexcept>
#include <vector>

namespace hesspot {
namespace {

struct InstructionSet {
  std::string name;
  std::size_t place; ///< in HESSPOT_INSTRUCTION_SETS
};

/// Those of this processor, the best one first.
const std::vector<InstructionSet> &sets() {
  static const auto found = [] {
    std::vector<InstructionSet> all;
    std::size_t place = 0;
#define HESSPOT_ADD(name, supported)                                           \
  if (supported)                                                               \
    all.push_back({#name, place});                                             \
  place++;
    HESSPOT_INSTRUCTION_SETS(HESSPOT_ADD)
    return all;
  }();
  return found;
}

/// The best one, or the one that the environment names.
const InstructionSet &chosen_set() {
  const char *const wanted = std::getenv("HESSPOT_INSTRUCTIONS");
  if (!wanted || !*wanted)
    return sets().front();
  for (const auto &set : sets())
    if (set.name == wanted)
      return set;
  throw std::runtime_error(
      std::string("the environment variable HESSPOT_INSTRUCTIONS is ") +
      wanted + ", but this processor and this build have: " +
      instruction_sets() + "; set it to one of these, or not at all");
}

/// Their work is several times what waking a thread costs. Dual numbers are
/// some three times the work.
constexpr std::size_t CENTERS_WORTH_A_THREAD = 32,
                      DUAL_CENTERS_WORTH_A_THREAD = 12;

/// Whether all `n` numbers are below `end` and none is below zero. Without a
/// branch, so that it costs nothing beside what is done with them.
bool all_below(const std::int64_t *numbers, std::size_t n, std::size_t end) {
  std::uint64_t high_bits = 0;
  for (std::size_t i = 0; i < n; i++) {
    const auto number = static_cast<std::uint64_t>(numbers[i]);
    high_bits |= number | (end - 1 - number);
  }
  return !(high_bits >> 63);
}

void need_elements(const std::int64_t *species, std::size_t n,
                   std::size_t n_elements, const char *whose) {
  if (all_below(species, n, n_elements))
    return;
  std::size_t i = 0;
  while (all_below(species + i, 1, n_elements))
    i++;
  throw std::invalid_argument("species " + std::to_string(species[i]) + " of " +
                              whose + " " + std::to_string(i) +
                              " is no element of the model; they are 0 to " +
                              std::to_string(n_elements - 1));
}

/// Calls work(edges of its own, its first centre) on each thread for a part of
/// the centres.
template <typename Work>
void share(Team &team, const Edges &edges, Work work,
           std::size_t worth_a_thread = CENTERS_WORTH_A_THREAD) {
  const std::size_t parts =
      std::clamp<std::size_t>(edges.n_centers / worth_a_thread, 1, team.size());
  team.run(parts, [&](std::size_t k) {
    const std::size_t first = k * edges.n_centers / parts,
                      end = (k + 1) * edges.n_centers / parts;
    Edges own = edges;
    own.n_centers = end - first;
    own.species += first;
    own.first_edge += first;
    work(own, first);
  });
}

/// The centres in parts of one element each, with so many of them at most.
struct ByElement {
  std::vector<std::vector<std::size_t>> centers;
  std::vector<SameCenters> parts;

  ByElement(const Edges &edges, std::size_t n_elements, std::size_t at_most)
      : centers(n_elements) {
    for (std::size_t c = 0; c < edges.n_centers; c++)
      centers[static_cast<std::size_t>(edges.species[c])].push_back(c);
    for (std::size_t s = 0; s < n_elements; s++)
      for (std::size_t first = 0; first < centers[s].size(); first += at_most)
        parts.push_back({static_cast<int>(s), &centers[s][first],
                         std::min(at_most, centers[s].size() - first)});
  }
};

/// Centres whose sums over weights are one term of the whole.
constexpr std::size_t CENTERS_OF_A_SUM = 32;

} // namespace

const char *instruction_sets() {
  static const auto names = [] {
    std::string all;
    for (const auto &set : sets()) {
      if (!all.empty())
        all += " ";
      all += set.name;
    }
    return all;
  }();
  return names.c_str();
}

std::size_t chosen_instruction_set() { return chosen_set().place; }

KernelModel::KernelModel(std::size_t n_elements)
    : n_elements_(n_elements), instructions_(chosen_set().name),
      instruction_set_(chosen_set().place), team_(team_of(1)) {}

void KernelModel::state(std::vector<std::string> elements, double cutoff,
                        bool is_single) {
  elements_ = std::move(elements);
  cutoff_ = cutoff;
  is_single_ = is_single;
}

void KernelModel::set_threads(std::size_t threads) { team_ = team_of(threads); }

void KernelModel::check(const Edges &edges) const {
  const std::size_t *const first = edges.first_edge;
  std::uint64_t high_bits = first[0] ? std::uint64_t(1) << 63 : 0;
  for (std::size_t c = 0; c < edges.n_centers; c++)
    high_bits |= first[c + 1] - first[c];
  if (high_bits >> 63)
    throw std::invalid_argument("the edges of the centres do not follow one "
                                "another; first_edge must rise from 0");
  need_elements(edges.species, edges.n_centers, n_elements_, "centre");
  need_elements(edges.neighbor_species, first[edges.n_centers], n_elements_,
                "the neighbour of edge");
}

void KernelModel::evaluate(const Edges &edges, double *energies,
                           double *gradient) const {
  check(edges);
  share(*team_, edges, [&](const Edges &own, std::size_t first) {
    evaluate_part(own, energies + first, gradient);
  });
}

void KernelModel::hvp(const Edges &edges, const double *directions,
                      double *products) const {
  check(edges);
  share(*team_, edges, [&](const Edges &own, std::size_t) {
    hvp_part(own, directions, products);
  });
}

void KernelModel::members(const Edges &edges, double *energies,
                          double *gradient) const {
  check(edges);
  const std::size_t n = edges.n_centers, size = 3 * edges.first_edge[n];
  share(*team_, edges, [&](const Edges &own, std::size_t first) {
    members_part(own, energies + first, n, gradient, size);
  });
}

void KernelModel::descriptors(const Edges &edges, double *descriptors) const {
  check(edges);
  const auto size = static_cast<std::size_t>(n_descriptors());
  share(*team_, edges, [&](const Edges &own, std::size_t first) {
    descriptors_part(own, descriptors + first * size);
  });
}

void KernelModel::differentiate(const Edges &edges, const double *directions,
                                double *energies, double *gradient,
                                double *products) const {
  check(edges);
  const std::size_t n = edges.n_centers, size = 3 * edges.first_edge[n];
  share(
      *team_, edges,
      [&](const Edges &own, std::size_t first) {
        differentiate_part(own, directions,
                           energies ? energies + first : nullptr, n, gradient,
                           size, products);
      },
      DUAL_CENTERS_WORTH_A_THREAD);
}

void KernelModel::hessians(
    const Edges &edges,
    const std::function<void(std::size_t, const double *)> &take) const {
  check(edges);
  const ByElement sorted(edges, n_elements_, hessians_at_once());
  const auto &parts = sorted.parts;
  struct Found {
    std::vector<double> values;
    std::vector<double *> hessians; // of the centres of a part
  };
  std::vector<Found> found(std::min(team_->size(), parts.size()));
  for (std::size_t first = 0; first < parts.size(); first += found.size()) {
    const std::size_t count = std::min(found.size(), parts.size() - first);
    team_->run(count, [&](std::size_t k) {
      const SameCenters &own = parts[first + k];
      std::vector<std::size_t> begins(1, 0);
      for (std::size_t i = 0; i < own.count; i++) {
        const std::size_t *const edge = edges.first_edge + own.centers[i];
        const std::size_t size = 3 * (edge[1] - edge[0]);
        begins.push_back(begins.back() + size * size);
      }
      found[k].values.resize(begins.back());
      found[k].hessians.clear();
      for (std::size_t i = 0; i < own.count; i++)
        found[k].hessians.push_back(found[k].values.data() + begins[i]);
      hessians_part(edges, own, found[k].hessians.data());
    });
    for (std::size_t k = 0; k < count; k++)
      for (std::size_t i = 0; i < parts[first + k].count; i++)
        take(parts[first + k].centers[i], found[k].hessians[i]);
  }
}

void KernelModel::place_weights(const std::int64_t *places) {
  const auto n = static_cast<std::size_t>(n_weights());
  const std::size_t n_networks =
      static_cast<std::size_t>(n_members_) * n_elements_;
  runs_.clear();
  runs_of_.assign(1, 0);
  for (std::size_t network = 0; network < n_networks; network++) {
    for (std::size_t i = network * n; i < (network + 1) * n; i++) {
      if (places[i] < 0)
        throw std::invalid_argument("weight " + std::to_string(i) +
                                    " has no place " +
                                    std::to_string(places[i]));
      const auto place = static_cast<std::size_t>(places[i]);
      if (i > network * n && runs_.back().place + runs_.back().size == place)
        runs_.back().size++;
      else
        runs_.push_back({i, place, 1});
    }
    runs_of_.push_back(runs_.size());
  }
}

void KernelModel::set_weights(const double *weights) {
  if (runs_.empty())
    return assign(weights);
  std::vector<double> own(static_cast<std::size_t>(n_members_) * n_elements_ *
                          static_cast<std::size_t>(n_weights()));
  for (const Run &run : runs_)
    std::copy_n(weights + run.place, run.size, own.data() + run.own);
  assign(own.data());
}

void KernelModel::add_weight_gradient(const Edges &edges, int member,
                                      LossSlopes slopes,
                                      double *gradient) const {
  check(edges);
  const auto n_weights = static_cast<std::size_t>(this->n_weights());
  const ByElement sorted(edges, n_elements_, CENTERS_OF_A_SUM);
  const auto &parts = sorted.parts;
  thread_local std::vector<double> sums;
  sums.resize(std::max(parts.size() * n_weights, sums.size()));
  double *const all_sums = sums.data(); // of this thread
  std::atomic<std::size_t> next = 0;
  team_->run(std::clamp<std::size_t>(parts.size(), 1, team_->size()),
             [&](std::size_t) {
               for (std::size_t k; (k = next++) < parts.size();)
                 weights_part(edges, parts[k], member, slopes,
                              all_sums + k * n_weights);
             });
  for (std::size_t k = 0; k < parts.size(); k++) {
    const std::size_t network = static_cast<std::size_t>(member) * n_elements_ +
                                static_cast<std::size_t>(parts[k].species);
    const double *const own = all_sums + k * n_weights;
    const auto add = [&](const Run &run) {
      const double *const from = own + (run.own - network * n_weights);
      for (std::size_t i = 0; i < run.size; i++)
        gradient[run.place + i] += from[i];
    };
    if (runs_.empty())
      add({network * n_weights, network * n_weights, n_weights});
    else
      std::for_each(runs_.data() + runs_of_[network],
                    runs_.data() + runs_of_[network + 1], add);
  }
}

} // namespace hesspot
