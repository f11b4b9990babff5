// SPDX-License-Identifier: GPL-2.0-or-later

#include "house.h"

#include "house_kernel.h"

#include <algorithm>

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

const HouseKernel &house_kernel()
{
#ifdef HESSPOT_X86
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    return avx512::kernel;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return avx2::kernel;
#endif
  return baseline::kernel;
}

namespace {

constexpr int RANK_OF_MONOMIAL[N_MONOMIALS] = {0, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3};

template <typename Real> std::vector<Real> converted(const std::vector<double> &values)
{
  return std::vector<Real>(values.begin(), values.end());
}

/// Weights in the arrangement and the precision of the kernel.
template <typename Real> class Parameters {
 public:
  Parameters(const HouseWeights &weights, int n_elements, double cutoff, const std::string &name)
  {
    const auto S = static_cast<std::size_t>(n_elements), K = static_cast<std::size_t>(weights.n_radial),
               C = static_cast<std::size_t>(weights.n_channels), slots = S * K;
    const std::size_t D = C + 3 * C * (3 * C + 1) / 2 + 2 * C * (2 * C + 1) / 2 + C * (C + 1) / 2;
    const auto need = [&name](bool fits) {
      if (!fits)
        throw ModelError("the weights in " + name +
                         " do not fit together as a house model; export it again with `hesspot export`");
    };
    need(S > 0 && K > 0 && C > 0 && weights.mix.size() == 4 * S * slots * C && weights.shifts.size() == S &&
         weights.networks.size() == S);
    mix_.resize(S * slots * C * N_MONOMIALS);
    for (std::size_t s = 0; s < S; s++)
      for (std::size_t slot = 0; slot < slots; slot++)
        for (std::size_t c = 0; c < C; c++)
          for (std::size_t m = 0; m < N_MONOMIALS; m++) {
            const auto rank = static_cast<std::size_t>(RANK_OF_MONOMIAL[m]);
            mix_[((s * slots + slot) * C + c) * N_MONOMIALS + m] =
                static_cast<Real>(weights.mix[((rank * S + s) * slots + slot) * C + c]);
          }
    std::size_t widest = 1;
    for (const auto &network : weights.networks) {
      std::size_t width = D;
      std::vector<HouseLayer<Real>> layers;
      for (const auto &layer : network.hidden) {
        need(!layer.bias.empty() && layer.weight.size() == width * layer.bias.size());
        layers.push_back(stored(layer, width));
        width = layer.bias.size();
        widest = std::max(widest, width);
      }
      need(layers.size() <= MAX_HIDDEN_LAYERS && network.readout.weight.size() == width &&
           network.readout.bias.size() == 1 && network.linear.size() == D && network.mean.size() == D &&
           network.inverse_deviation.size() == D);
      const auto readout = stored(network.readout, width);
      layers_.push_back(std::move(layers));
      networks_.push_back({static_cast<int>(network.hidden.size()), layers_.back().data(), readout,
                           keep(network.linear), keep(network.mean), keep(network.inverse_deviation)});
    }
    kernel = {n_elements,
              weights.n_radial,
              weights.n_channels,
              static_cast<int>(D),
              static_cast<int>(widest),
              static_cast<Real>(cutoff),
              static_cast<Real>(weights.scale),
              mix_.data(),
              networks_.data()};
  }
  Parameters(const Parameters &) = delete;
  Parameters &operator=(const Parameters &) = delete;

  HouseParameters<Real> kernel;

 private:
  std::vector<Real> mix_;
  std::vector<std::vector<Real>> arrays_;
  std::vector<std::vector<HouseLayer<Real>>> layers_;
  std::vector<HouseNetwork<Real>> networks_;

  const Real *keep(const std::vector<double> &values)
  {
    arrays_.push_back(converted<Real>(values));
    return arrays_.back().data();
  }

  HouseLayer<Real> stored(const Layer &layer, std::size_t n_in)
  {
    return {static_cast<int>(n_in), static_cast<int>(layer.bias.size()), keep(layer.weight), keep(layer.bias)};
  }
};

class HouseModel : public Model {
 public:
  HouseModel(std::vector<std::string> elements, double cutoff, const HouseWeights &weights, Precision precision,
             const std::string &name) : Model(std::move(elements), cutoff), shifts_(weights.shifts)
  {
    const auto n = static_cast<int>(this->elements().size());
    if (precision == Precision::Double)
      double_ = std::make_unique<Parameters<double>>(weights, n, cutoff, name);
    else
      single_ = std::make_unique<Parameters<float>>(weights, n, cutoff, name);
  }

  void evaluate(const Edges &edges, std::vector<double> &energies, std::vector<double> &gradient) override
  {
    energies.resize(edges.n_centers());
    gradient.resize(edges.vectors.size());
    const auto view = view_of(edges);
    if (double_)
      house_kernel().evaluate_double(double_->kernel, view, energies.data(), gradient.data());
    else
      house_kernel().evaluate_single(single_->kernel, view, energies.data(), gradient.data());
    for (std::size_t c = 0; c < edges.n_centers(); c++)
      energies[c] += shifts_[static_cast<std::size_t>(edges.species[c])];
  }

  void hvp(const Edges &edges, const std::vector<double> &directions, std::vector<double> &products) override
  {
    products.resize(edges.vectors.size());
    const auto view = view_of(edges);
    if (double_)
      house_kernel().hvp_double(double_->kernel, view, directions.data(), products.data());
    else
      house_kernel().hvp_single(single_->kernel, view, directions.data(), products.data());
  }

 private:
  std::vector<double> shifts_;
  std::unique_ptr<Parameters<double>> double_;
  std::unique_ptr<Parameters<float>> single_;
  std::vector<std::size_t> first_edge_;

  HouseEdges view_of(const Edges &edges)
  {
    first_edge_.assign(edges.n_centers() + 1, 0);
    for (const auto center : edges.centers) first_edge_[static_cast<std::size_t>(center) + 1]++;
    for (std::size_t c = 0; c < edges.n_centers(); c++) first_edge_[c + 1] += first_edge_[c];
    return {edges.n_centers(), edges.species.data(), first_edge_.data(), edges.neighbor_species.data(),
            edges.vectors.data()};
  }
};

}  // namespace

std::unique_ptr<Model> make_house(std::vector<std::string> elements, double cutoff, HouseWeights weights,
                                  Precision precision, const std::string &name)
{
  return std::make_unique<HouseModel>(std::move(elements), cutoff, weights, precision, name);
}

}  // namespace hesspot
