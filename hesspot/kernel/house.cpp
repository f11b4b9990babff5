// SPDX-License-Identifier: MIT

#include "house.h"

#include "instruction_sets.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

namespace hesspot {

#define HESSPOT_DECLARE(name, supported)                                       \
  namespace name {                                                             \
  extern const HouseKernel kernel;                                             \
  }
HESSPOT_INSTRUCTION_SETS(HESSPOT_DECLARE)

namespace {

/// The kernels for this processor, the best one first.
const std::vector<const HouseKernel *> &kernels() {
  static const auto found = [] {
    std::vector<const HouseKernel *> all;
#define HESSPOT_ADD(name, supported)                                           \
  if (supported)                                                               \
    all.push_back(&name::kernel);
    HESSPOT_INSTRUCTION_SETS(HESSPOT_ADD)
    return all;
  }();
  return found;
}

/// The best kernel, or the one that the environment names.
const HouseKernel &chosen_kernel() {
  const char *const wanted = std::getenv("HESSPOT_INSTRUCTIONS");
  if (!wanted || !*wanted)
    return *kernels().front();
  for (const auto *kernel : kernels())
    if (!std::strcmp(kernel->name, wanted))
      return *kernel;
  throw std::runtime_error(
      std::string("the environment variable HESSPOT_INSTRUCTIONS is ") +
      wanted + ", but this processor and this build have: " +
      instruction_sets() + "; set it to one of these, or not at all");
}

/// Their work is several times what waking a thread costs.
constexpr std::size_t CENTERS_WORTH_A_THREAD = 64;

void add_shifts(const HouseEdges &edges, const double *shifts,
                double *energies) {
  for (std::size_t c = 0; c < edges.n_centers; c++)
    energies[c] += shifts[edges.species[c]];
}

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

/// std::invalid_argument for edges that would lead out of an array.
void check(const HouseEdges &edges, std::size_t n_elements) {
  const std::size_t *const first = edges.first_edge;
  std::uint64_t high_bits = first[0] ? std::uint64_t(1) << 63 : 0;
  for (std::size_t c = 0; c < edges.n_centers; c++)
    high_bits |= first[c + 1] - first[c];
  if (high_bits >> 63)
    throw std::invalid_argument("the edges of the centres do not follow one "
                                "another; first_edge must rise from 0");
  need_elements(edges.species, edges.n_centers, n_elements, "centre");
  need_elements(edges.neighbor_species, first[edges.n_centers], n_elements,
                "the neighbour of edge");
}

} // namespace

const char *instruction_sets() {
  static const auto names = [] {
    std::string all;
    for (const auto *kernel : kernels()) {
      if (!all.empty())
        all += " ";
      all += kernel->name;
    }
    return all;
  }();
  return names.c_str();
}

/// Weights in the arrangement and the precision of the kernel.
template <typename Real> class House::Parameters {
public:
  explicit Parameters(const HouseWeights &weights)
      : S_(static_cast<std::size_t>(weights.n_elements)),
        C_(static_cast<std::size_t>(weights.n_channels)),
        slots_(S_ * static_cast<std::size_t>(weights.n_radial)),
        D_(static_cast<std::size_t>(n_descriptors_of(weights.n_channels))) {
    need(slots_ > 0 && C_ > 0 && !weights.descriptions.empty());
    int n_members = 0;
    for (const auto &description : weights.descriptions) {
      descriptions_.push_back(stored(description));
      n_members += descriptions_.back().n_members;
    }
    kernel = {static_cast<int>(descriptions_.size()),
              n_members,
              weights.n_elements,
              weights.n_radial,
              weights.n_channels,
              static_cast<int>(D_),
              static_cast<int>(widest_),
              static_cast<Real>(weights.cutoff),
              descriptions_.data()};
  }
  Parameters(const Parameters &) = delete;
  Parameters &operator=(const Parameters &) = delete;

  HouseParameters<Real> kernel;

private:
  std::size_t S_, C_, slots_, D_, widest_ = 1;
  std::vector<std::vector<Real>> arrays_;
  std::vector<std::vector<HouseLayer<Real>>> layers_;
  std::vector<std::vector<HouseNetwork<Real>>> networks_;
  std::vector<HouseDescription<Real>> descriptions_;

  static void need(bool fits) {
    if (!fits)
      throw std::invalid_argument("do not fit together as a house model");
  }

  const Real *keep(const std::vector<double> &values) {
    arrays_.emplace_back(values.begin(), values.end());
    return arrays_.back().data();
  }

  HouseLayer<Real> stored(const Layer &layer, std::size_t n_in) {
    return {static_cast<int>(n_in), static_cast<int>(layer.bias.size()),
            keep(layer.weight), keep(layer.bias)};
  }

  HouseNetwork<Real> stored(const Network &network) {
    std::size_t width = D_;
    std::vector<HouseLayer<Real>> layers;
    for (const auto &layer : network.hidden) {
      need(!layer.bias.empty() &&
           layer.weight.size() == width * layer.bias.size());
      layers.push_back(stored(layer, width));
      width = layer.bias.size();
      widest_ = std::max(widest_, width);
    }
    need(layers.size() <= MAX_HIDDEN_LAYERS &&
         network.readout.weight.size() == width &&
         network.readout.bias.size() == 1 && network.linear.size() == D_);
    layers_.push_back(std::move(layers));
    return {static_cast<int>(network.hidden.size()), layers_.back().data(),
            stored(network.readout, width), keep(network.linear)};
  }

  HouseDescription<Real> stored(const Description &description) {
    const std::size_t block = slots_ * C_;
    need(
        description.mix.size() == 4 * S_ * block &&
        description.shifts.size() == S_ && description.mean.size() == S_ * D_ &&
        description.inverse_deviation.size() == S_ * D_ &&
        !description.networks.empty() && description.networks.size() % S_ == 0);
    std::vector<double> mix(description.mix.size());
    for (std::size_t rank = 0; rank < 4; rank++)
      for (std::size_t s = 0; s < S_; s++)
        std::copy_n(&description.mix[(rank * S_ + s) * block], block,
                    &mix[(s * 4 + rank) * block]);
    std::vector<HouseNetwork<Real>> networks;
    for (const auto &network : description.networks)
      networks.push_back(stored(network));
    networks_.push_back(std::move(networks));
    return {static_cast<int>(description.networks.size() / S_),
            static_cast<Real>(description.scale),
            keep(mix),
            networks_.back().data(),
            keep(description.mean),
            keep(description.inverse_deviation)};
  }
};

House::House(const HouseWeights &weights, bool single_precision)
    : kernel_(chosen_kernel()), team_(std::make_unique<Team>(1)) {
  if (single_precision)
    single_ = std::make_unique<Parameters<float>>(weights);
  else
    double_ = std::make_unique<Parameters<double>>(weights);
  n_members_ = single_ ? single_->kernel.n_members : double_->kernel.n_members;
  const auto S = static_cast<std::size_t>(weights.n_elements);
  mean_shifts_.assign(S, 0.0);
  for (const auto &description : weights.descriptions)
    for (std::size_t m = 0; m < description.networks.size() / S; m++)
      member_shifts_.insert(member_shifts_.end(), description.shifts.begin(),
                            description.shifts.end());
  for (std::size_t i = 0; i < member_shifts_.size(); i++)
    mean_shifts_[i % S] += member_shifts_[i] / n_members_;
}

House::~House() = default;

const char *House::instructions() const { return kernel_.name; }

void House::set_threads(std::size_t threads) {
  team_ = std::make_unique<Team>(threads);
}

/// Calls work(edges of its own, its first centre) on each thread for a part of
/// the centres.
template <typename Work>
void House::share(const HouseEdges &edges, Work work) const {
  check(edges, mean_shifts_.size());
  const std::size_t parts = std::clamp<std::size_t>(
      edges.n_centers / CENTERS_WORTH_A_THREAD, 1, team_->size());
  team_->run(parts, [&](std::size_t k) {
    const std::size_t first = k * edges.n_centers / parts,
                      end = (k + 1) * edges.n_centers / parts;
    HouseEdges own = edges;
    own.n_centers = end - first;
    own.species += first;
    own.first_edge += first;
    work(own, first);
  });
}

void House::evaluate(const HouseEdges &edges, double *energies,
                     double *gradient) const {
  share(edges, [&](const HouseEdges &own, std::size_t first) {
    if (double_)
      kernel_.evaluate_double(double_->kernel, own, energies + first, gradient);
    else
      kernel_.evaluate_single(single_->kernel, own, energies + first, gradient);
  });
  add_shifts(edges, mean_shifts_.data(), energies);
}

void House::hvp(const HouseEdges &edges, const double *directions,
                double *products) const {
  share(edges, [&](const HouseEdges &own, std::size_t) {
    if (double_)
      kernel_.hvp_double(double_->kernel, own, directions, products);
    else
      kernel_.hvp_single(single_->kernel, own, directions, products);
  });
}

void House::members(const HouseEdges &edges, double *energies,
                    double *gradient) const {
  const std::size_t n = edges.n_centers, size = 3 * edges.first_edge[n];
  share(edges, [&](const HouseEdges &own, std::size_t first) {
    if (double_)
      kernel_.members_double(double_->kernel, own, energies + first, n,
                             gradient, size);
    else
      kernel_.members_single(single_->kernel, own, energies + first, n,
                             gradient, size);
  });
  for (std::size_t m = 0; m < static_cast<std::size_t>(n_members_); m++)
    add_shifts(edges, &member_shifts_[m * mean_shifts_.size()],
               energies + m * n);
}

} // namespace hesspot
