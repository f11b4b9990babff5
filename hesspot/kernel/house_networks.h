// SPDX-License-Identifier: MIT
//
// Sums over weights, and the networks of an element.

#ifndef HESSPOT_HOUSE_NETWORKS_H
#define HESSPOT_HOUSE_NETWORKS_H

#include "house_kernel.h"
#include "house_numbers.h"

#include <cstddef>

namespace hesspot {
namespace HESSPOT_INSTRUCTIONS {
namespace {

/// Weights that are read as a matrix, element (r, k) at r · row + k · column.
template <typename Real> struct Matrix {
  const Real *data;
  std::ptrdiff_t row, column;
};

/// A vector whose elements stand `step` apart.
template <typename T> struct Strided {
  T *data;
  std::ptrdiff_t step;
};

/// out[r] = Σ_k w(r, k) x[k] for R rows; added to `out` if ADD.
template <int R, bool ADD, typename T>
[[gnu::always_inline]] inline void rows(Matrix<typename T::Scalar> w,
                                        std::ptrdiff_t n, Strided<const T> x,
                                        Strided<T> out) {
  T sum[R];
  for (int r = 0; r < R; r++)
    sum[r] = ADD ? out.data[r * out.step] : T(0);
  for (std::ptrdiff_t k = 0; k < n; k++) {
    const T value = *x.data;
    for (int r = 0; r < R; r++)
      sum[r] += w.data[r * w.row] * value;
    x.data += x.step;
    w.data += w.column;
  }
  for (int r = 0; r < R; r++)
    out.data[r * out.step] = sum[r];
}

/// The same for any number of rows.
template <bool ADD, typename T>
[[gnu::always_inline]] inline void product(Matrix<typename T::Scalar> w,
                                           int n_rows, int n,
                                           Strided<const T> x, Strided<T> out) {
  const auto next = [&]<int R>() {
    rows<R, ADD>(w, n, x, out);
    w.data += R * w.row;
    out.data += R * out.step;
    n_rows -= R;
  };
  constexpr int MOST = SUMS_AT_ONCE<T> < 8 ? SUMS_AT_ONCE<T> : 8;
  while (n_rows >= MOST)
    next.template operator()<MOST>();
  if constexpr (MOST > 6)
    if (n_rows >= 6)
      next.template operator()<6>();
  if constexpr (MOST > 4)
    if (n_rows & 4)
      next.template operator()<4>();
  if constexpr (MOST > 2)
    if (n_rows & 2)
      next.template operator()<2>();
  if (n_rows & 1)
    next.template operator()<1>();
}

/// sums (n_rows, n) += the last parts of the products of all x with all y.
template <typename T>
[[gnu::always_inline]] inline void
add_outer_product(const T *x, int n_rows, const T *y, int n,
                  Lanes<typename T::Scalar> *sums) {
  const auto next = [&]<int R>() {
    T own[R];
    for (int r = 0; r < R; r++)
      own[r] = x[r];
    for (int i = 0; i < n; i++)
      for (int r = 0; r < R; r++)
        sums[r * n + i] += last_of_product(own[r], y[i]);
    x += R;
    sums += R * n;
    n_rows -= R;
  };
  constexpr int MOST = SUMS_AT_ONCE<T> < 4 ? SUMS_AT_ONCE<T> : 4;
  while (n_rows >= MOST)
    next.template operator()<MOST>();
  while (n_rows > 0)
    next.template operator()<1>();
}

/// Σ_k w[k] x[k]; several sums at once, since each addition waits for the one
/// before.
template <typename T>
inline T dot(const typename T::Scalar *w, const T *x, int n) {
  T sum[4] = {T(0), T(0), T(0), T(0)};
  int k = 0;
  for (; k + 4 <= n; k += 4)
    for (int i = 0; i < 4; i++)
      sum[i] += w[k + i] * x[k + i];
  for (; k < n; k++)
    sum[0] += w[k] * x[k];
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/// The networks on the standardised descriptors of a block of centres.
template <typename T> class Networks {
public:
  typedef typename T::Scalar Real;

  Networks(const HouseParameters<Real> &p, Memory &memory) : p_(p) {
    const auto take = [&](int count) {
      return memory.take<T>(static_cast<std::size_t>(count));
    };
    descriptors = take(p.n_descriptors);
    derivatives = take(p.n_descriptors);
    activations_ = take(MAX_HIDDEN_LAYERS * p.max_width);
    slopes_ = take(MAX_HIDDEN_LAYERS * p.max_width);
    layer_bar_ = take(2 * p.max_width);
  }

  T *descriptors; ///< read by `add`
  T *derivatives; ///< of the energy with respect to them
  T energy;

  void clear() {
    energy = T(0);
    set_zero(derivatives, p_.n_descriptors);
  }

  /// Adds `weight` times the energies by one network, and their derivatives.
  [[gnu::noinline]] // what it calls is inlined into it then
  void add(const HouseNetwork<Real> &net, Real weight) {
    energy += weight * forward(net);
    for (int i = 0; i < net.readout.n_in; i++)
      layer_bar_[i] = T(weight * net.readout.weight[i]);
    for (int i = 0; i < p_.n_descriptors; i++)
      derivatives[i] += T(weight * net.linear[i]);
    backward(net, [](const HouseLayer<Real> &, const T *, const T *) {});
  }

  /// Sets `derivatives` to those of `seed` times the energies by one network,
  /// and adds the last part of those with respect to its weights to `sums`, in
  /// the order of HouseParameters::n_weights.
  [[gnu::noinline]]
  void add_to_weights(const HouseNetwork<Real> &net, const T &seed,
                      Lanes<Real> *sums) {
    forward(net);
    Lanes<Real> *layer_sums[MAX_HIDDEN_LAYERS];
    const T *last = descriptors;
    for (int l = 0; l < net.n_hidden; l++) {
      const HouseLayer<Real> &layer = net.hidden[l];
      layer_sums[l] = sums;
      sums += layer.n_out * (layer.n_in + 1);
      last = activations_ + l * p_.max_width;
    }
    for (int i = 0; i < net.readout.n_in; i++) {
      *sums++ += last_of_product(seed, last[i]);
      layer_bar_[i] = net.readout.weight[i] * seed;
    }
    *sums++ += last_of_product(seed, T(Real(1)));
    for (int i = 0; i < p_.n_descriptors; i++) {
      *sums++ += last_of_product(seed, descriptors[i]);
      derivatives[i] = net.linear[i] * seed;
    }
    backward(net,
             [&](const HouseLayer<Real> &layer, const T *bar, const T *input) {
               Lanes<Real> *sum = layer_sums[&layer - net.hidden];
               add_outer_product(bar, layer.n_out, input, layer.n_in, sum);
               sum += layer.n_out * layer.n_in;
               for (int o = 0; o < layer.n_out; o++)
                 *sum++ += last_of_product(bar[o], T(Real(1)));
             });
  }

private:
  const HouseParameters<Real> &p_;
  T *activations_, *slopes_, *layer_bar_;

  /// What the network gives; its activations, and their slopes, are kept.
  [[gnu::always_inline]] inline T forward(const HouseNetwork<Real> &net) {
    const T *input = descriptors;
    for (int l = 0; l < net.n_hidden; l++) {
      const HouseLayer<Real> &layer = net.hidden[l];
      T *const output = activations_ + l * p_.max_width;
      T *const slope = slopes_ + l * p_.max_width;
      for (int o = 0; o < layer.n_out; o++)
        output[o] = T(layer.bias[o]);
      product<true, T>({layer.weight, layer.n_in, 1}, layer.n_out, layer.n_in,
                       {input, 1}, {output, 1});
      for (int o = 0; o < layer.n_out; o++) {
        const T open = logistic(output[o]);
        const T value = output[o] * open;
        output[o] = value;
        slope[o] = open + value * (T(1) - open);
      }
      input = output;
    }
    return T(net.readout.bias[0]) +
           dot(net.readout.weight, input, net.readout.n_in) +
           dot(net.linear, descriptors, p_.n_descriptors);
  }

  /// From the derivatives with respect to the last activations, in
  /// `layer_bar_`, to those with respect to the descriptors, which are added.
  /// Calls on_layer(layer, derivatives with respect to its sums, its input).
  template <typename OnLayer>
  [[gnu::always_inline]] inline void backward(const HouseNetwork<Real> &net,
                                              OnLayer on_layer) {
    T *bar = layer_bar_, *other = layer_bar_ + p_.max_width;
    for (int l = net.n_hidden - 1; l >= 0; l--) {
      const HouseLayer<Real> &layer = net.hidden[l];
      const T *const slope = slopes_ + l * p_.max_width;
      for (int o = 0; o < layer.n_out; o++)
        bar[o] = bar[o] * slope[o];
      on_layer(layer, bar,
               l ? activations_ + (l - 1) * p_.max_width : descriptors);
      const Matrix<Real> transposed = {layer.weight, 1, layer.n_in};
      T *const below = l ? other : derivatives;
      if (l)
        product<false, T>(transposed, layer.n_in, layer.n_out, {bar, 1},
                          {below, 1});
      else
        product<true, T>(transposed, layer.n_in, layer.n_out, {bar, 1},
                         {below, 1});
      other = bar;
      bar = below;
    }
  }
};

} // namespace
} // namespace HESSPOT_INSTRUCTIONS
} // namespace hesspot

#endif
