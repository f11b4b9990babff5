// SPDX-License-Identifier: MIT

#include "house.h"

#include <algorithm>
#include <stdexcept>

namespace hesspot {

namespace baseline {
extern const HouseKernel kernel;
}
#ifdef HESSPOT_X86
namespace avx2 {
extern const HouseKernel kernel;
}
namespace avx512 {
extern const HouseKernel kernel;
}
#endif

const HouseKernel &house_kernel() {
#ifdef HESSPOT_X86
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    return avx512::kernel;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return avx2::kernel;
#endif
  return baseline::kernel;
}

namespace {

/// Their work is several times what waking a thread costs.
constexpr std::size_t CENTERS_WORTH_A_THREAD = 64;

void add_shifts(const HouseEdges &edges, const double *shifts,
                double *energies) {
  for (std::size_t c = 0; c < edges.n_centers; c++)
    energies[c] += shifts[edges.species[c]];
}

} // namespace

/// Weights in the arrangement and the precision of the kernel.
template <typename Real> class House::Parameters {
public:
  explicit Parameters(const HouseWeights &weights)
      : S_(static_cast<std::size_t>(weights.n_elements)),
        C_(static_cast<std::size_t>(weights.n_channels)),
        slots_(S_ * static_cast<std::size_t>(weights.n_radial)),
        D_(C_ + 3 * C_ * (3 * C_ + 1) / 2 + 2 * C_ * (2 * C_ + 1) / 2 +
           C_ * (C_ + 1) / 2) {
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
    : team_(std::make_unique<Team>(1)) {
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

void House::set_threads(std::size_t threads) {
  team_ = std::make_unique<Team>(threads);
}

/// Calls work(edges of its own, its first centre) on each thread for a part of
/// the centres.
template <typename Work>
void House::share(const HouseEdges &edges, Work work) const {
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
      house_kernel().evaluate_double(double_->kernel, own, energies + first,
                                     gradient);
    else
      house_kernel().evaluate_single(single_->kernel, own, energies + first,
                                     gradient);
  });
  add_shifts(edges, mean_shifts_.data(), energies);
}

void House::hvp(const HouseEdges &edges, const double *directions,
                double *products) const {
  share(edges, [&](const HouseEdges &own, std::size_t) {
    if (double_)
      house_kernel().hvp_double(double_->kernel, own, directions, products);
    else
      house_kernel().hvp_single(single_->kernel, own, directions, products);
  });
}

void House::members(const HouseEdges &edges, double *energies,
                    double *gradient) const {
  const std::size_t n = edges.n_centers, size = 3 * edges.first_edge[n];
  share(edges, [&](const HouseEdges &own, std::size_t first) {
    if (double_)
      house_kernel().members_double(double_->kernel, own, energies + first, n,
                                    gradient, size);
    else
      house_kernel().members_single(single_->kernel, own, energies + first, n,
                                    gradient, size);
  });
  for (std::size_t m = 0; m < static_cast<std::size_t>(n_members_); m++)
    add_shifts(edges, &member_shifts_[m * mean_shifts_.size()],
               energies + m * n);
}

} // namespace hesspot
