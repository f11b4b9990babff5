// SPDX-License-Identifier: MIT

#include "house.h"

#include "instruction_sets.h"

#include <algorithm>
#include <stdexcept>

namespace hesspot {

#define HESSPOT_DECLARE(name, supported)                                       \
  namespace name {                                                             \
  extern const HouseKernel house_kernel;                                       \
  }
HESSPOT_INSTRUCTION_SETS(HESSPOT_DECLARE)

namespace {

#define HESSPOT_KERNEL(name, supported) &name::house_kernel,
constexpr const HouseKernel *KERNELS[] = {
    HESSPOT_INSTRUCTION_SETS(HESSPOT_KERNEL)};

void add_shifts(const Edges &edges, const double *shifts, double *energies) {
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
        D_(static_cast<std::size_t>(n_descriptors_of(weights.n_channels))) {
    need(slots_ > 0 && C_ > 0 && !weights.descriptions.empty() &&
         weights.cores.size() == S_ * S_);
    for (const auto &core : weights.cores)
      cores_.push_back(
          {static_cast<Real>(core.inner), static_cast<Real>(core.outer),
           static_cast<Real>(core.strength), static_cast<Real>(core.length)});
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
              descriptions_.data(),
              cores_.data(),
              list_trained()};
  }
  Parameters(const Parameters &) = delete;
  Parameters &operator=(const Parameters &) = delete;

  /// values (n_members, n_elements, n_weights). The first member of each
  /// description gives the weights of its channels.
  void assign(const double *values) {
    for (const Piece &piece : trained_) {
      if (piece.is_read)
        std::copy_n(values, piece.size, piece.array);
      values += piece.size;
    }
  }

  HouseParameters<Real> kernel;

private:
  /// Some of `arrays_`; false for what another piece gives.
  struct Piece {
    Real *array;
    std::size_t size;
    bool is_read;
  };

  std::size_t S_, C_, slots_, D_, widest_ = 1;
  std::vector<Piece> trained_;
  std::vector<std::vector<Real>> arrays_;
  std::vector<std::vector<HouseLayer<Real>>> layers_;
  std::vector<std::vector<HouseNetwork<Real>>> networks_;
  std::vector<HouseDescription<Real>> descriptions_;
  std::vector<HouseCore<Real>> cores_;

  static void need(bool fits) {
    if (!fits)
      throw std::invalid_argument("do not fit together as a house model");
  }

  /// The number of weights of one member for one element, in the order of
  /// HouseParameters::n_weights.
  int list_trained() {
    const auto add = [this](const Real *array, std::size_t size, bool is_read) {
      trained_.push_back({const_cast<Real *>(array), size, is_read});
    };
    const auto add_layer = [&](const HouseLayer<Real> &layer) {
      add(layer.weight, static_cast<std::size_t>(layer.n_in * layer.n_out),
          true);
      add(layer.bias, static_cast<std::size_t>(layer.n_out), true);
    };
    const std::size_t n_mix = 4 * slots_ * C_;
    std::size_t n_all = 0, n_networks = 0;
    for (const auto &description : descriptions_)
      for (std::size_t i = 0;
           i < static_cast<std::size_t>(description.n_members) * S_; i++) {
        const HouseNetwork<Real> &network = description.networks[i];
        add(description.mix + i % S_ * n_mix, n_mix, i < S_);
        for (int l = 0; l < network.n_hidden; l++)
          add_layer(network.hidden[l]);
        add_layer(network.readout);
        add(network.linear, D_, true);
        n_networks++;
      }
    for (const Piece &piece : trained_)
      n_all += piece.size;
    return static_cast<int>(n_all / n_networks);
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
    : KernelModel(static_cast<std::size_t>(weights.n_elements)),
      kernel_(*KERNELS[instruction_set()]) {
  if (single_precision)
    single_ = std::make_unique<Parameters<float>>(weights);
  else
    double_ = std::make_unique<Parameters<double>>(weights);
  const int n_members =
      single_ ? single_->kernel.n_members : double_->kernel.n_members;
  set_members(n_members);
  const auto S = static_cast<std::size_t>(weights.n_elements);
  mean_shifts_.assign(S, 0.0);
  for (const auto &description : weights.descriptions)
    for (std::size_t m = 0; m < description.networks.size() / S; m++)
      member_shifts_.insert(member_shifts_.end(), description.shifts.begin(),
                            description.shifts.end());
  for (std::size_t i = 0; i < member_shifts_.size(); i++)
    mean_shifts_[i % S] += member_shifts_[i] / n_members;
}

House::~House() = default;

void House::evaluate_part(const Edges &edges, double *energies,
                          double *gradient) const {
  if (double_)
    kernel_.evaluate_double(double_->kernel, edges, energies, gradient);
  else
    kernel_.evaluate_single(single_->kernel, edges, energies, gradient);
  add_shifts(edges, mean_shifts_.data(), energies);
}

void House::hvp_part(const Edges &edges, const double *directions,
                     double *products) const {
  if (double_)
    kernel_.hvp_double(double_->kernel, edges, directions, products);
  else
    kernel_.hvp_single(single_->kernel, edges, directions, products);
}

void House::members_part(const Edges &edges, double *energies,
                         std::size_t energy_step, double *gradient,
                         std::size_t gradient_step) const {
  if (double_)
    kernel_.members_double(double_->kernel, edges, energies, energy_step,
                           gradient, gradient_step);
  else
    kernel_.members_single(single_->kernel, edges, energies, energy_step,
                           gradient, gradient_step);
  for (std::size_t m = 0; m < static_cast<std::size_t>(n_members()); m++)
    add_shifts(edges, &member_shifts_[m * mean_shifts_.size()],
               energies + m * energy_step);
}

std::size_t House::hessians_at_once() const {
  return double_ ? kernel_.lanes_double : kernel_.lanes_single;
}

void House::hessians_part(const Edges &edges, SameCenters own,
                          double *const *hessians) const {
  if (double_)
    kernel_.hessians_double(double_->kernel, edges, own, hessians);
  else
    kernel_.hessians_single(single_->kernel, edges, own, hessians);
}

int House::n_weights() const { return double_ ? double_->kernel.n_weights : 0; }

int House::n_descriptors() const {
  return double_ ? double_->kernel.n_descriptors : 0;
}

void House::descriptors_part(const Edges &edges, double *descriptors) const {
  kernel_.descriptors(double_->kernel, edges, descriptors);
}

void House::assign(const double *weights) { double_->assign(weights); }

void House::differentiate_part(const Edges &edges, const double *directions,
                               double *energies, std::size_t energy_step,
                               double *gradient, std::size_t gradient_step,
                               double *products) const {
  kernel_.differentiate(double_->kernel, edges, directions, energies,
                        energy_step, gradient, gradient_step, products);
  for (std::size_t m = 0; energies && m < static_cast<std::size_t>(n_members());
       m++)
    add_shifts(edges, &member_shifts_[m * mean_shifts_.size()],
               energies + m * energy_step);
}

void House::weights_part(const Edges &edges, SameCenters own, int member,
                         LossSlopes slopes, double *sums) const {
  kernel_.weights(double_->kernel, edges, own, member, slopes, sums);
}

} // namespace hesspot
