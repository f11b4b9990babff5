// SPDX-License-Identifier: MIT
//
// Compiled once per instruction set, with HESSPOT_INSTRUCTIONS as its name. No
// templates of the standard library are used here: the linker would be free to
// take their code for one processor for all.

#include "house_kernel.h"

#include <cmath>
#include <cstdlib>
#include <new>

namespace hesspot {
namespace HESSPOT_INSTRUCTIONS {
namespace {

/// a + b ε with ε² = 0: a function of it gives its value and its derivative
/// along one direction. A gradient computed with it gives the Hessian product.
template <typename Real> struct Dual {
  Real a, b;
  Dual() = default;
  Dual(Real value) : a(value), b(0) {}
  Dual(Real value, Real derivative) : a(value), b(derivative) {}
  Dual &operator+=(const Dual &o) { return a += o.a, b += o.b, *this; }
  Dual &operator-=(const Dual &o) { return a -= o.a, b -= o.b, *this; }
};

template <typename Real>
inline Dual<Real> operator+(const Dual<Real> &x, const Dual<Real> &y) {
  return {x.a + y.a, x.b + y.b};
}
template <typename Real>
inline Dual<Real> operator-(const Dual<Real> &x, const Dual<Real> &y) {
  return {x.a - y.a, x.b - y.b};
}
template <typename Real>
inline Dual<Real> operator*(const Dual<Real> &x, const Dual<Real> &y) {
  return {x.a * y.a, x.a * y.b + x.b * y.a};
}
template <typename Real>
inline Dual<Real> operator*(Real x, const Dual<Real> &y) {
  return {x * y.a, x * y.b};
}
template <typename Real>
inline Dual<Real> operator*(const Dual<Real> &x, Real y) {
  return {x.a * y, x.b * y};
}
template <typename Real>
inline Dual<Real> operator/(const Dual<Real> &x, const Dual<Real> &y) {
  const Real quotient = x.a / y.a;
  return {quotient, (x.b - quotient * y.b) / y.a};
}

inline float exponential(float x) { return std::exp(x); }
inline double exponential(double x) { return std::exp(x); }
template <typename Real> inline Dual<Real> exponential(const Dual<Real> &x) {
  const Real value = exponential(x.a);
  return {value, value * x.b};
}
inline float square_root(float x) { return std::sqrt(x); }
inline double square_root(double x) { return std::sqrt(x); }
template <typename Real> inline Dual<Real> square_root(const Dual<Real> &x) {
  const Real value = square_root(x.a);
  return {value, x.b / (2 * value)};
}
inline void sine_cosine(float x, float &sine, float &cosine) {
  sine = std::sin(x), cosine = std::cos(x);
}
inline void sine_cosine(double x, double &sine, double &cosine) {
  sine = std::sin(x), cosine = std::cos(x);
}
template <typename Real>
inline void sine_cosine(const Dual<Real> &x, Dual<Real> &sine,
                        Dual<Real> &cosine) {
  Real s, c;
  sine_cosine(x.a, s, c);
  sine = {s, c * x.b};
  cosine = {c, -s * x.b};
}
inline bool beyond(float x, float y) { return x >= y; }
inline bool beyond(double x, double y) { return x >= y; }
template <typename Real> inline bool beyond(const Dual<Real> &x, Real y) {
  return x.a >= y;
}

/// Where each element (row by row) of a full 3 × 3 matrix, and of a full 3 × 9
/// tensor, stands among the independent ones.
constexpr int FULL2[9] = {0, 1, 2, 1, 3, 4, 2, 4, 5};
constexpr int FULL3[27] = {0, 1, 2, 1, 3, 4, 2, 4, 5, 1, 3, 4, 3, 6,
                           7, 4, 7, 8, 2, 4, 5, 4, 7, 8, 5, 8, 9};
/// How often each independent element of rank 3 occurs in the full tensor.
constexpr int REPEATS3[10] = {1, 3, 3, 3, 6, 3, 1, 3, 3, 1};

/// Memory for one centre; T is Real, or Dual of it.
template <typename T> class Scratch {
public:
  explicit Scratch(std::size_t size)
      : data_(static_cast<T *>(std::malloc(size * sizeof(T)))), next_(data_) {
    if (!data_)
      throw std::bad_alloc();
  }
  ~Scratch() { std::free(data_); }
  Scratch(const Scratch &) = delete;
  Scratch &operator=(const Scratch &) = delete;
  T *take(std::size_t size) {
    T *const start = next_;
    next_ += size;
    return start;
  }

private:
  T *data_, *next_;
};

template <typename T> inline void set_zero(T *values, int n) {
  for (int i = 0; i < n; i++)
    values[i] = T(0);
}

template <typename Real, typename T> class Kernel {
public:
  Kernel(const HouseParameters<Real> &p, std::size_t max_edges)
      : p_(p), n_slots_(p.n_elements * p.n_radial),
        n_vectors_(3 * p.n_channels), n_matrices_(2 * p.n_channels),
        memory_(size(p, max_edges)) {
    const auto C = static_cast<std::size_t>(p.n_channels);
    const auto slots = static_cast<std::size_t>(n_slots_ * N_MONOMIALS);
    density_ = memory_.take(slots);
    density_bar_ = memory_.take(slots);
    moments_ = memory_.take(C * N_MONOMIALS);
    moments_bar_ = memory_.take(C * N_MONOMIALS);
    vectors_ = memory_.take(3 * 3 * C);
    vectors_bar_ = memory_.take(3 * 3 * C);
    matrices_ = memory_.take(9 * 2 * C);
    matrices_bar_ = memory_.take(9 * 2 * C);
    descriptors_ = memory_.take(static_cast<std::size_t>(p.n_descriptors));
    descriptors_bar_ = memory_.take(static_cast<std::size_t>(p.n_descriptors));
    activations_ =
        memory_.take(static_cast<std::size_t>(MAX_HIDDEN_LAYERS * p.max_width));
    slopes_ =
        memory_.take(static_cast<std::size_t>(MAX_HIDDEN_LAYERS * p.max_width));
    layer_bar_ = memory_.take(static_cast<std::size_t>(2 * p.max_width));
    radial_ = memory_.take(max_edges * static_cast<std::size_t>(p.n_radial));
    radial_slope_ =
        memory_.take(max_edges * static_cast<std::size_t>(p.n_radial));
    angular_ = memory_.take(max_edges * N_MONOMIALS);
    distance_ = memory_.take(max_edges);
  }

  /// Energy, the mean of the members', of a centre with n edges; `vectors` (3
  /// n) and the answer `gradient` (3 n). The members share all but the
  /// networks.
  T center(int species, int n, const std::int64_t *neighbor_species,
           const T *vectors, T *gradient) {
    describe(species, n, neighbor_species, vectors);
    const Real weight = p_.scale / static_cast<Real>(p_.n_members);
    T energy = T(0);
    set_zero(descriptors_bar_, p_.n_descriptors);
    for (int member = 0; member < p_.n_members; member++)
      energy += network(network_of(member, species), weight);
    descend(species, n, neighbor_species, gradient);
    return energy;
  }

  /// Energy of a centre by one member, after `describe`.
  T member(int member, int species, int n, const std::int64_t *neighbor_species,
           T *gradient) {
    set_zero(descriptors_bar_, p_.n_descriptors);
    const T energy = network(network_of(member, species), p_.scale);
    descend(species, n, neighbor_species, gradient);
    return energy;
  }

  /// Leaves the standardised descriptors of a centre.
  void describe(int species, int n, const std::int64_t *neighbor_species,
                const T *vectors) {
    set_zero(density_, n_slots_ * N_MONOMIALS);
    for (int e = 0; e < n; e++)
      add_edge(e, static_cast<int>(neighbor_species[e]), vectors + 3 * e);
    mix_channels(mix_of(species));
    invariants();
    const Real *const mean = p_.mean + species * p_.n_descriptors;
    const Real *const inverse_deviation =
        p_.inverse_deviation + species * p_.n_descriptors;
    for (int i = 0; i < p_.n_descriptors; i++)
      descriptors_[i] = (descriptors_[i] - T(mean[i])) * inverse_deviation[i];
  }

private:
  const HouseParameters<Real> &p_;
  int n_slots_, n_vectors_, n_matrices_;

  const HouseNetwork<Real> &network_of(int member, int species) const {
    return p_.networks[member * p_.n_elements + species];
  }

  const Real *mix_of(int species) const {
    return p_.mix +
           static_cast<std::size_t>(species) *
               static_cast<std::size_t>(n_slots_ * p_.n_channels * N_MONOMIALS);
  }

  /// From the derivatives in `descriptors_bar_` to those of the edges.
  void descend(int species, int n, const std::int64_t *neighbor_species,
               T *gradient) {
    const Real *const inverse_deviation =
        p_.inverse_deviation + species * p_.n_descriptors;
    for (int i = 0; i < p_.n_descriptors; i++)
      descriptors_bar_[i] = descriptors_bar_[i] * inverse_deviation[i];
    invariants_backward();
    mix_channels_backward(mix_of(species));
    for (int e = 0; e < n; e++)
      edge_backward(e, static_cast<int>(neighbor_species[e]), gradient + 3 * e);
  }

  Scratch<T> memory_;
  T *density_, *density_bar_, *moments_, *moments_bar_, *vectors_,
      *vectors_bar_, *matrices_, *matrices_bar_;
  T *descriptors_, *descriptors_bar_, *activations_, *slopes_, *layer_bar_;
  T *radial_, *radial_slope_, *angular_, *distance_;

  static std::size_t size(const HouseParameters<Real> &p,
                          std::size_t max_edges) {
    const auto C = static_cast<std::size_t>(p.n_channels),
               K = static_cast<std::size_t>(p.n_radial);
    return 2 * static_cast<std::size_t>(p.n_elements) * K * N_MONOMIALS +
           2 * C * N_MONOMIALS + 2 * 9 * C + 2 * 18 * C +
           2 * static_cast<std::size_t>(p.n_descriptors) +
           static_cast<std::size_t>((2 * MAX_HIDDEN_LAYERS + 2) * p.max_width) +
           max_edges * (2 * K + N_MONOMIALS + 1);
  }

  /// Radial functions B_k(r) = sin(kπr/r_c)/r (1 − (r/r_c)²)⁴, their slopes,
  /// and the monomials of the unit vector.
  void add_edge(int e, int neighbor, const T *v) {
    const int K = p_.n_radial;
    T *const B = radial_ + e * K;
    T *const slope = radial_slope_ + e * K;
    T *const Y = angular_ + e * N_MONOMIALS;
    const T r = square_root(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
    distance_[e] = r;
    if (beyond(r, p_.cutoff)) {
      set_zero(B, K);
      set_zero(slope, K);
      set_zero(Y, N_MONOMIALS);
      return;
    }
    const T inverse = T(1) / r;
    const T fraction = r * (Real(1) / p_.cutoff);
    const T rest = T(1) - fraction * fraction;
    const T envelope = rest * rest * rest * rest * inverse;
    const T envelope_slope =
        Real(-8) / p_.cutoff * (fraction * rest * rest * rest) * inverse -
        envelope * inverse;
    const Real pi = Real(3.14159265358979323846);
    T sine, cosine;
    sine_cosine(fraction * pi, sine, cosine);
    const T twice = cosine + cosine;
    T sine_before = T(0), cosine_before = T(1);
    for (int k = 0; k < K; k++) {
      B[k] = sine * envelope;
      slope[k] = Real(k + 1) * pi / p_.cutoff * (cosine * envelope) +
                 sine * envelope_slope;
      const T next_sine = twice * sine - sine_before,
              next_cosine = twice * cosine - cosine_before;
      sine_before = sine, cosine_before = cosine;
      sine = next_sine, cosine = next_cosine;
    }
    const T x = v[0] * inverse, y = v[1] * inverse, z = v[2] * inverse;
    const T xx = x * x, xy = x * y, xz = x * z, yy = y * y, yz = y * z,
            zz = z * z;
    const T all[N_MONOMIALS] = {T(1),   x,      y,      z,      xx,
                                xy,     xz,     yy,     yz,     zz,
                                xx * x, xx * y, xx * z, xy * y, xy * z,
                                xz * z, yy * y, yy * z, yz * z, zz * z};
    for (int m = 0; m < N_MONOMIALS; m++)
      Y[m] = all[m];
    T *const A = density_ + neighbor * K * N_MONOMIALS;
    for (int k = 0; k < K; k++)
      for (int m = 0; m < N_MONOMIALS; m++)
        A[k * N_MONOMIALS + m] += B[k] * Y[m];
  }

  void edge_backward(int e, int neighbor, T *gradient) {
    const int K = p_.n_radial;
    const T *const B = radial_ + e * K;
    const T *const slope = radial_slope_ + e * K;
    const T *const Y = angular_ + e * N_MONOMIALS;
    const T *const A_bar = density_bar_ + neighbor * K * N_MONOMIALS;
    T b[N_MONOMIALS];
    set_zero(b, N_MONOMIALS);
    T along[N_MONOMIALS];
    set_zero(along, N_MONOMIALS);
    for (int k = 0; k < K; k++)
      for (int m = 0; m < N_MONOMIALS; m++) {
        b[m] += B[k] * A_bar[k * N_MONOMIALS + m];
        along[m] += slope[k] * A_bar[k * N_MONOMIALS + m];
      }
    T radial_part = T(0);
    for (int m = 0; m < N_MONOMIALS; m++)
      radial_part += along[m] * Y[m];
    const T x = Y[1], y = Y[2], z = Y[3];
    const Real two(2), three(3);
    const T gx = b[1] + two * (x * b[4]) + y * b[5] + z * b[6] +
                 three * (Y[4] * b[10]) + two * (Y[5] * b[11]) +
                 two * (Y[6] * b[12]) + Y[7] * b[13] + Y[8] * b[14] +
                 Y[9] * b[15];
    const T gy = b[2] + x * b[5] + two * (y * b[7]) + z * b[8] + Y[4] * b[11] +
                 two * (Y[5] * b[13]) + Y[6] * b[14] + three * (Y[7] * b[16]) +
                 two * (Y[8] * b[17]) + Y[9] * b[18];
    const T gz = b[3] + x * b[6] + y * b[8] + two * (z * b[9]) + Y[4] * b[12] +
                 Y[5] * b[14] + two * (Y[6] * b[15]) + Y[7] * b[17] +
                 two * (Y[8] * b[18]) + three * (Y[9] * b[19]);
    const T inverse = T(1) / distance_[e];
    const T parallel = radial_part - (gx * x + gy * y + gz * z) * inverse;
    gradient[0] = parallel * x + gx * inverse;
    gradient[1] = parallel * y + gy * inverse;
    gradient[2] = parallel * z + gz * inverse;
  }

  /// M[c][m] = Σ_slots mix[slot][c][m] A[slot][m]
  void mix_channels(const Real *mix) {
    const int C = p_.n_channels;
    set_zero(moments_, C * N_MONOMIALS);
    for (int slot = 0; slot < n_slots_; slot++) {
      const T *const A = density_ + slot * N_MONOMIALS;
      const Real *const W = mix + slot * C * N_MONOMIALS;
      for (int c = 0; c < C; c++)
        for (int m = 0; m < N_MONOMIALS; m++)
          moments_[c * N_MONOMIALS + m] += W[c * N_MONOMIALS + m] * A[m];
    }
  }

  void mix_channels_backward(const Real *mix) {
    const int C = p_.n_channels;
    for (int slot = 0; slot < n_slots_; slot++) {
      T *const A_bar = density_bar_ + slot * N_MONOMIALS;
      const Real *const W = mix + slot * C * N_MONOMIALS;
      set_zero(A_bar, N_MONOMIALS);
      for (int c = 0; c < C; c++)
        for (int m = 0; m < N_MONOMIALS; m++)
          A_bar[m] +=
              W[c * N_MONOMIALS + m] * moments_bar_[c * N_MONOMIALS + m];
    }
  }

  /// The vectors M¹, M²·M¹, M³:M² and the matrices M², M³·M¹ of all channels,
  /// and the descriptors.
  void invariants() {
    const int C = p_.n_channels;
    for (int c = 0; c < C; c++) {
      const T *const m1 = moments_ + c * N_MONOMIALS + 1;
      const T *const m2 = m1 + 3;
      const T *const m3 = m2 + 6;
      T *const v1 = vectors_ + 3 * c;
      T *const v21 = vectors_ + 3 * (C + c);
      T *const v32 = vectors_ + 3 * (2 * C + c);
      T *const w2 = matrices_ + 9 * c;
      T *const w31 = matrices_ + 9 * (C + c);
      for (int i = 0; i < 9; i++)
        w2[i] = m2[FULL2[i]];
      for (int i = 0; i < 9; i++)
        w31[i] = m3[FULL3[i]] * m1[0] + m3[FULL3[9 + i]] * m1[1] +
                 m3[FULL3[18 + i]] * m1[2];
      for (int a = 0; a < 3; a++) {
        v1[a] = m1[a];
        v21[a] =
            w2[3 * a] * m1[0] + w2[3 * a + 1] * m1[1] + w2[3 * a + 2] * m1[2];
        T sum = T(0);
        for (int i = 0; i < 9; i++)
          sum += m3[FULL3[9 * a + i]] * w2[i];
        v32[a] = sum;
      }
    }
    T *d = descriptors_;
    for (int c = 0; c < C; c++)
      *d++ = moments_[c * N_MONOMIALS];
    for (int i = 0; i < n_vectors_; i++)
      for (int j = i; j < n_vectors_; j++) {
        const T *const x = vectors_ + 3 * i, *const y = vectors_ + 3 * j;
        *d++ = x[0] * y[0] + x[1] * y[1] + x[2] * y[2];
      }
    for (int i = 0; i < n_matrices_; i++)
      for (int j = i; j < n_matrices_; j++) {
        const T *const x = matrices_ + 9 * i, *const y = matrices_ + 9 * j;
        T sum = T(0);
        for (int k = 0; k < 9; k++)
          sum += x[k] * y[k];
        *d++ = sum;
      }
    for (int i = 0; i < C; i++)
      for (int j = i; j < C; j++) {
        const T *const x = moments_ + i * N_MONOMIALS + 10,
                       *const y = moments_ + j * N_MONOMIALS + 10;
        T sum = T(0);
        for (int k = 0; k < 10; k++)
          sum += Real(REPEATS3[k]) * (x[k] * y[k]);
        *d++ = sum;
      }
  }

  void invariants_backward() {
    const int C = p_.n_channels;
    set_zero(moments_bar_, C * N_MONOMIALS);
    set_zero(vectors_bar_, 3 * n_vectors_);
    set_zero(matrices_bar_, 9 * n_matrices_);
    const T *d = descriptors_bar_;
    for (int c = 0; c < C; c++)
      moments_bar_[c * N_MONOMIALS] = *d++;
    for (int i = 0; i < n_vectors_; i++)
      for (int j = i; j < n_vectors_; j++) {
        const T g = *d++;
        for (int k = 0; k < 3; k++) {
          vectors_bar_[3 * i + k] += g * vectors_[3 * j + k];
          vectors_bar_[3 * j + k] += g * vectors_[3 * i + k];
        }
      }
    for (int i = 0; i < n_matrices_; i++)
      for (int j = i; j < n_matrices_; j++) {
        const T g = *d++;
        for (int k = 0; k < 9; k++) {
          matrices_bar_[9 * i + k] += g * matrices_[9 * j + k];
          matrices_bar_[9 * j + k] += g * matrices_[9 * i + k];
        }
      }
    for (int i = 0; i < C; i++)
      for (int j = i; j < C; j++) {
        const T g = *d++;
        for (int k = 0; k < 10; k++) {
          const T weighted = Real(REPEATS3[k]) * g;
          moments_bar_[i * N_MONOMIALS + 10 + k] +=
              weighted * moments_[j * N_MONOMIALS + 10 + k];
          moments_bar_[j * N_MONOMIALS + 10 + k] +=
              weighted * moments_[i * N_MONOMIALS + 10 + k];
        }
      }
    for (int c = 0; c < C; c++) {
      const T *const m1 = moments_ + c * N_MONOMIALS + 1;
      const T *const m3 = m1 + 9;
      T *const m1_bar = moments_bar_ + c * N_MONOMIALS + 1;
      T *const m2_bar = m1_bar + 3;
      T *const m3_bar = m2_bar + 6;
      const T *const v1_bar = vectors_bar_ + 3 * c;
      const T *const v21_bar = vectors_bar_ + 3 * (C + c);
      const T *const v32_bar = vectors_bar_ + 3 * (2 * C + c);
      const T *const w2 = matrices_ + 9 * c;
      T *const w2_bar = matrices_bar_ + 9 * c;
      const T *const w31_bar = matrices_bar_ + 9 * (C + c);
      for (int a = 0; a < 3; a++) {
        m1_bar[a] += v1_bar[a];
        for (int b = 0; b < 3; b++) {
          w2_bar[3 * a + b] += v21_bar[a] * m1[b];
          m1_bar[b] += v21_bar[a] * w2[3 * a + b];
        }
        for (int i = 0; i < 9; i++) {
          m3_bar[FULL3[9 * a + i]] += v32_bar[a] * w2[i] + w31_bar[i] * m1[a];
          w2_bar[i] += v32_bar[a] * m3[FULL3[9 * a + i]];
          m1_bar[a] += w31_bar[i] * m3[FULL3[9 * a + i]];
        }
      }
      for (int i = 0; i < 9; i++)
        m2_bar[FULL2[i]] += w2_bar[i];
    }
  }

  /// `weight` times the energy of the standardised descriptors; adds its
  /// derivative to `descriptors_bar_`.
  T network(const HouseNetwork<Real> &net, Real weight) {
    const int D = p_.n_descriptors;
    const T *input = descriptors_;
    for (int l = 0; l < net.n_hidden; l++) {
      const HouseLayer<Real> &layer = net.hidden[l];
      T *const output = activations_ + l * p_.max_width;
      T *const slope = slopes_ + l * p_.max_width;
      for (int o = 0; o < layer.n_out; o++) {
        const Real *const w =
            layer.weight +
            static_cast<std::size_t>(o) * static_cast<std::size_t>(layer.n_in);
        T sum = T(layer.bias[o]);
        for (int i = 0; i < layer.n_in; i++)
          sum += w[i] * input[i];
        const T logistic = T(1) / (T(1) + exponential(T(0) - sum));
        output[o] = sum * logistic;
        slope[o] = logistic + output[o] * (T(1) - logistic);
      }
      input = output;
    }
    T energy = T(net.readout.bias[0]);
    for (int i = 0; i < net.readout.n_in; i++)
      energy += net.readout.weight[i] * input[i];
    for (int i = 0; i < D; i++)
      energy += net.linear[i] * descriptors_[i];

    T *bar = layer_bar_, *other = layer_bar_ + p_.max_width;
    for (int i = 0; i < net.readout.n_in; i++)
      bar[i] = T(weight * net.readout.weight[i]);
    for (int i = 0; i < D; i++)
      descriptors_bar_[i] += T(weight * net.linear[i]);
    for (int l = net.n_hidden - 1; l >= 0; l--) {
      const HouseLayer<Real> &layer = net.hidden[l];
      const T *const slope = slopes_ + l * p_.max_width;
      T *const below = l ? other : descriptors_bar_;
      if (l)
        set_zero(below, layer.n_in);
      for (int o = 0; o < layer.n_out; o++) {
        const T g = bar[o] * slope[o];
        const Real *const w =
            layer.weight +
            static_cast<std::size_t>(o) * static_cast<std::size_t>(layer.n_in);
        for (int i = 0; i < layer.n_in; i++)
          below[i] += w[i] * g;
      }
      other = bar;
      bar = below;
    }
    return energy * weight;
  }
};

std::size_t most_edges(const HouseEdges &edges) {
  std::size_t most = 1;
  for (std::size_t c = 0; c < edges.n_centers; c++) {
    const std::size_t n = edges.first_edge[c + 1] - edges.first_edge[c];
    if (n > most)
      most = n;
  }
  return most;
}

template <typename Real>
void evaluate(const HouseParameters<Real> &p, const HouseEdges &edges,
              double *energies, double *gradient) {
  const std::size_t most = most_edges(edges);
  Kernel<Real, Real> kernel(p, most);
  Scratch<Real> memory(6 * most);
  Real *const vectors = memory.take(3 * most), *const slopes =
                                                   memory.take(3 * most);
  for (std::size_t c = 0; c < edges.n_centers; c++) {
    const std::size_t first = edges.first_edge[c],
                      n = edges.first_edge[c + 1] - first;
    for (std::size_t i = 0; i < 3 * n; i++)
      vectors[i] = static_cast<Real>(edges.vectors[3 * first + i]);
    energies[c] = static_cast<double>(
        kernel.center(static_cast<int>(edges.species[c]), static_cast<int>(n),
                      edges.neighbor_species + first, vectors, slopes));
    for (std::size_t i = 0; i < 3 * n; i++)
      gradient[3 * first + i] = static_cast<double>(slopes[i]);
  }
}

template <typename Real>
void members(const HouseParameters<Real> &p, const HouseEdges &edges,
             double *energies, double *gradient) {
  const std::size_t most = most_edges(edges);
  Kernel<Real, Real> kernel(p, most);
  Scratch<Real> memory(6 * most);
  Real *const vectors = memory.take(3 * most), *const slopes =
                                                   memory.take(3 * most);
  const std::size_t n_edges = edges.first_edge[edges.n_centers];
  for (std::size_t c = 0; c < edges.n_centers; c++) {
    const std::size_t first = edges.first_edge[c];
    const int n = static_cast<int>(edges.first_edge[c + 1] - first);
    const int species = static_cast<int>(edges.species[c]);
    const std::int64_t *const neighbors = edges.neighbor_species + first;
    for (int i = 0; i < 3 * n; i++)
      vectors[i] = static_cast<Real>(edges.vectors[3 * first + i]);
    kernel.describe(species, n, neighbors, vectors);
    for (int m = 0; m < p.n_members; m++) {
      energies[m * edges.n_centers + c] =
          static_cast<double>(kernel.member(m, species, n, neighbors, slopes));
      double *const row = gradient + 3 * (m * n_edges + first);
      for (int i = 0; i < 3 * n; i++)
        row[i] = static_cast<double>(slopes[i]);
    }
  }
}

template <typename Real>
void hvp(const HouseParameters<Real> &p, const HouseEdges &edges,
         const double *directions, double *products) {
  using T = Dual<Real>;
  const std::size_t most = most_edges(edges);
  Kernel<Real, T> kernel(p, most);
  Scratch<T> memory(6 * most);
  T *const vectors = memory.take(3 * most), *const slopes =
                                                memory.take(3 * most);
  for (std::size_t c = 0; c < edges.n_centers; c++) {
    const std::size_t first = edges.first_edge[c],
                      n = edges.first_edge[c + 1] - first;
    for (std::size_t i = 0; i < 3 * n; i++)
      vectors[i] = T(static_cast<Real>(edges.vectors[3 * first + i]),
                     static_cast<Real>(directions[3 * first + i]));
    kernel.center(static_cast<int>(edges.species[c]), static_cast<int>(n),
                  edges.neighbor_species + first, vectors, slopes);
    for (std::size_t i = 0; i < 3 * n; i++)
      products[3 * first + i] = static_cast<double>(slopes[i].b);
  }
}

} // namespace

#define HESSPOT_NAME(name) #name
#define HESSPOT_NAME_OF(macro) HESSPOT_NAME(macro)

extern const HouseKernel kernel;
const HouseKernel kernel = {HESSPOT_NAME_OF(HESSPOT_INSTRUCTIONS),
                            evaluate<double>,
                            evaluate<float>,
                            hvp<double>,
                            hvp<float>,
                            members<double>,
                            members<float>};

} // namespace HESSPOT_INSTRUCTIONS
} // namespace hesspot
