// SPDX-License-Identifier: MIT
//
// The networks of an element on several centres at once, so that the weights
// are read once for all of them.

#ifndef HESSPOT_HOUSE_NETWORKS_H
#define HESSPOT_HOUSE_NETWORKS_H

#include "house_kernel.h"
#include "house_numbers.h"

namespace hesspot {
namespace HESSPOT_INSTRUCTIONS {
namespace {

/// Centres that go through the networks together: one register of AVX-512.
template <typename Real> constexpr int LANES = 64 / sizeof(Real);

/// One Real of each centre. It may stand at any address of a Real.
template <typename Real> struct PackOf {
  typedef Real type __attribute__((vector_size(LANES<Real> * sizeof(Real)),
                                   aligned(sizeof(Real)), may_alias));
};

// An entry is the same number of all centres: their values, then, for dual
// numbers, their derivatives.
template <typename Real> inline Real get(const Real *entry, int lane, Real) {
  return entry[lane];
}
template <typename Real>
inline Dual<Real> get(const Real *entry, int lane, const Dual<Real> &) {
  return {entry[lane], entry[LANES<Real> + lane]};
}
template <typename Real> inline void put(Real *entry, int lane, Real x) {
  entry[lane] = x;
}
template <typename Real>
inline void put(Real *entry, int lane, const Dual<Real> &x) {
  entry[lane] = x.a;
  entry[LANES<Real> + lane] = x.b;
}

/// out[r] += Σ_k w[r · row + k · column] x[k] for `R` entries of `P` packs.
template <int R, int P, typename Real>
inline void add_rows(const Real *w, int row, int column, int n, const Real *x,
                     Real *out) {
  using Pack = typename PackOf<Real>::type;
  const Pack *const in = reinterpret_cast<const Pack *>(x);
  Pack *const to = reinterpret_cast<Pack *>(out);
  Pack sum[R][P];
  for (int r = 0; r < R; r++)
    for (int p = 0; p < P; p++)
      sum[r][p] = to[r * P + p];
  for (int k = 0; k < n; k++)
    for (int r = 0; r < R; r++)
      for (int p = 0; p < P; p++)
        sum[r][p] += w[r * row + k * column] * in[k * P + p];
  for (int r = 0; r < R; r++)
    for (int p = 0; p < P; p++)
      to[r * P + p] = sum[r][p];
}

/// The same for any number of rows.
template <int P, typename Real>
void add_product(const Real *w, int rows, int row, int column, int n,
                 const Real *x, Real *out) {
  constexpr int ENTRY = P * LANES<Real>;
  int r = 0;
  for (; r + 4 <= rows; r += 4)
    add_rows<4, P>(w + r * row, row, column, n, x, out + r * ENTRY);
  for (; r < rows; r++)
    add_rows<1, P>(w + r * row, row, column, n, x, out + r * ENTRY);
}

/// T is Real, or Dual of it.
template <typename Real, typename T> class Networks {
public:
  explicit Networks(const HouseParameters<Real> &p)
      : p_(p),
        memory_(static_cast<std::size_t>(
            (2 * p.n_descriptors + (2 * MAX_HIDDEN_LAYERS + 2) * p.max_width) *
            ENTRY)) {
    const auto take = [this](int entries) {
      return memory_.take(static_cast<std::size_t>(entries * ENTRY));
    };
    descriptors_ = take(p.n_descriptors);
    descriptors_bar_ = take(p.n_descriptors);
    activations_ = take(MAX_HIDDEN_LAYERS * p.max_width);
    slopes_ = take(MAX_HIDDEN_LAYERS * p.max_width);
    layer_bar_ = take(2 * p.max_width);
    set_zero(descriptors_, p.n_descriptors * ENTRY);
  }

  /// The standardised descriptors of a centre.
  void set_descriptors(int lane, const T *values) {
    for (int i = 0; i < p_.n_descriptors; i++)
      put(descriptors_ + i * ENTRY, lane, values[i]);
  }

  /// The derivatives of a centre's energy with respect to them.
  void get_derivatives(int lane, T *values) const {
    for (int i = 0; i < p_.n_descriptors; i++)
      values[i] = get(descriptors_bar_ + i * ENTRY, lane, T());
  }

  T energy(int lane) const { return energies_[lane]; }

  void clear() {
    for (int lane = 0; lane < LANES<Real>; lane++)
      energies_[lane] = T(0);
    set_zero(descriptors_bar_, p_.n_descriptors * ENTRY);
  }

  /// Adds `weight` times the energies of `n` centres by one network, and their
  /// derivatives.
  void add(const HouseNetwork<Real> &net, Real weight, int n) {
    const int D = p_.n_descriptors;
    const Real *input = descriptors_;
    for (int l = 0; l < net.n_hidden; l++) {
      const HouseLayer<Real> &layer = net.hidden[l];
      Real *const output = activations_ + l * p_.max_width * ENTRY;
      Real *const slope = slopes_ + l * p_.max_width * ENTRY;
      for (int o = 0; o < layer.n_out; o++)
        fill(output + o * ENTRY, layer.bias[o]);
      add_product<P>(layer.weight, layer.n_out, layer.n_in, 1, layer.n_in,
                     input, output);
      for (int o = 0; o < layer.n_out; o++)
        for (int lane = 0; lane < n; lane++) {
          const T sum = get(output + o * ENTRY, lane, T());
          const T logistic = T(1) / (T(1) + exponential(T(0) - sum));
          const T value = sum * logistic;
          put(output + o * ENTRY, lane, value);
          put(slope + o * ENTRY, lane, logistic + value * (T(1) - logistic));
        }
      input = output;
    }
    Real sum[ENTRY];
    fill(sum, net.readout.bias[0]);
    add_rows<1, P>(net.readout.weight, 0, 1, net.readout.n_in, input, sum);
    add_rows<1, P>(net.linear, 0, 1, D, descriptors_, sum);
    for (int lane = 0; lane < n; lane++)
      energies_[lane] += get(sum, lane, T()) * weight;

    Real *bar = layer_bar_, *other = layer_bar_ + p_.max_width * ENTRY;
    for (int i = 0; i < net.readout.n_in; i++)
      fill(bar + i * ENTRY, weight * net.readout.weight[i]);
    for (int i = 0; i < D; i++)
      for (int lane = 0; lane < LANES<Real>; lane++)
        descriptors_bar_[i * ENTRY + lane] += weight * net.linear[i];
    for (int l = net.n_hidden - 1; l >= 0; l--) {
      const HouseLayer<Real> &layer = net.hidden[l];
      const Real *const slope = slopes_ + l * p_.max_width * ENTRY;
      for (int o = 0; o < layer.n_out; o++)
        for (int lane = 0; lane < n; lane++)
          put(bar + o * ENTRY, lane,
              get(bar + o * ENTRY, lane, T()) *
                  get(slope + o * ENTRY, lane, T()));
      Real *const below = l ? other : descriptors_bar_;
      if (l)
        set_zero(below, layer.n_in * ENTRY);
      add_product<P>(layer.weight, layer.n_in, 1, layer.n_in, layer.n_out, bar,
                     below);
      other = bar;
      bar = below;
    }
  }

private:
  static constexpr int P = sizeof(T) / sizeof(Real); // packs of an entry
  static constexpr int ENTRY = P * LANES<Real>;

  const HouseParameters<Real> &p_;
  Scratch<Real> memory_;
  Real *descriptors_, *descriptors_bar_, *activations_, *slopes_, *layer_bar_;
  T energies_[LANES<Real>];

  static void fill(Real *entry, Real value) {
    for (int lane = 0; lane < ENTRY; lane++)
      entry[lane] = lane < LANES<Real> ? value : Real(0);
  }
};

} // namespace
} // namespace HESSPOT_INSTRUCTIONS
} // namespace hesspot

#endif
