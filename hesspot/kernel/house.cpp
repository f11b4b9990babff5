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

template <typename Real>
std::vector<Real> converted(const std::vector<double> &values) {
  return std::vector<Real>(values.begin(), values.end());
}

} // namespace

/// Weights in the arrangement and the precision of the kernel.
template <typename Real> class House::Parameters {
public:
  explicit Parameters(const HouseWeights &weights) {
    const auto S = static_cast<std::size_t>(weights.n_elements),
               K = static_cast<std::size_t>(weights.n_radial),
               C = static_cast<std::size_t>(weights.n_channels), slots = S * K;
    const std::size_t D =
        C + 3 * C * (3 * C + 1) / 2 + 2 * C * (2 * C + 1) / 2 + C * (C + 1) / 2;
    const auto need = [](bool fits) {
      if (!fits)
        throw std::invalid_argument(
            "the weights do not fit together as a house model");
    };
    need(S > 0 && K > 0 && C > 0 && weights.mix.size() == 4 * S * slots * C &&
         weights.shifts.size() == S && weights.mean.size() == S * D &&
         weights.inverse_deviation.size() == S * D &&
         !weights.networks.empty() && weights.networks.size() % S == 0);
    mix_.resize(S * 4 * slots * C);
    for (std::size_t rank = 0; rank < 4; rank++)
      for (std::size_t s = 0; s < S; s++)
        for (std::size_t i = 0; i < slots * C; i++)
          mix_[(s * 4 + rank) * slots * C + i] =
              static_cast<Real>(weights.mix[(rank * S + s) * slots * C + i]);
    std::size_t widest = 1;
    for (const auto &network : weights.networks) {
      std::size_t width = D;
      std::vector<HouseLayer<Real>> layers;
      for (const auto &layer : network.hidden) {
        need(!layer.bias.empty() &&
             layer.weight.size() == width * layer.bias.size());
        layers.push_back(stored(layer, width));
        width = layer.bias.size();
        widest = std::max(widest, width);
      }
      need(layers.size() <= MAX_HIDDEN_LAYERS &&
           network.readout.weight.size() == width &&
           network.readout.bias.size() == 1 && network.linear.size() == D);
      const auto readout = stored(network.readout, width);
      layers_.push_back(std::move(layers));
      networks_.push_back({static_cast<int>(network.hidden.size()),
                           layers_.back().data(), readout,
                           keep(network.linear)});
    }
    kernel = {static_cast<int>(weights.networks.size() / S),
              weights.n_elements,
              weights.n_radial,
              weights.n_channels,
              static_cast<int>(D),
              static_cast<int>(widest),
              static_cast<Real>(weights.cutoff),
              static_cast<Real>(weights.scale),
              mix_.data(),
              networks_.data(),
              keep(weights.mean),
              keep(weights.inverse_deviation)};
  }
  Parameters(const Parameters &) = delete;
  Parameters &operator=(const Parameters &) = delete;

  HouseParameters<Real> kernel;

private:
  std::vector<Real> mix_;
  std::vector<std::vector<Real>> arrays_;
  std::vector<std::vector<HouseLayer<Real>>> layers_;
  std::vector<HouseNetwork<Real>> networks_;

  const Real *keep(const std::vector<double> &values) {
    arrays_.push_back(converted<Real>(values));
    return arrays_.back().data();
  }

  HouseLayer<Real> stored(const Layer &layer, std::size_t n_in) {
    return {static_cast<int>(n_in), static_cast<int>(layer.bias.size()),
            keep(layer.weight), keep(layer.bias)};
  }
};

House::House(const HouseWeights &weights, bool single_precision)
    : team_(std::make_unique<Team>(1)), shifts_(weights.shifts) {
  if (single_precision)
    single_ = std::make_unique<Parameters<float>>(weights);
  else
    double_ = std::make_unique<Parameters<double>>(weights);
  n_members_ = single_ ? single_->kernel.n_members : double_->kernel.n_members;
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
  add_shifts(edges, energies);
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
  for (int m = 0; m < n_members_; m++)
    add_shifts(edges, energies + static_cast<std::size_t>(m) * n);
}

void House::add_shifts(const HouseEdges &edges, double *energies) const {
  for (std::size_t c = 0; c < edges.n_centers; c++)
    energies[c] += shifts_[static_cast<std::size_t>(edges.species[c])];
}

} // namespace hesspot
