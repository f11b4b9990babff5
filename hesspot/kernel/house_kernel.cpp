// SPDX-License-Identifier: MIT
//
// Compiled once per instruction set, with HESSPOT_INSTRUCTIONS as its name. No
// templates of the standard library are used here: the linker would be free to
// take their code for one processor for all.

#include "house_kernel.h"
#include "house_networks.h"
#include "house_numbers.h"

namespace hesspot {
namespace HESSPOT_INSTRUCTIONS {
namespace {

/// Where each element (row by row) of a full 3 × 3 matrix, and of a full 3 × 9
/// tensor, stands among the independent ones.
constexpr int FULL2[9] = {0, 1, 2, 1, 3, 4, 2, 4, 5};
constexpr int FULL3[27] = {0, 1, 2, 1, 3, 4, 2, 4, 5, 1, 3, 4, 3, 6,
                           7, 4, 7, 8, 2, 4, 5, 4, 7, 8, 5, 8, 9};
/// How often each independent element of rank 3 occurs in the full tensor.
constexpr int REPEATS3[10] = {1, 3, 3, 3, 6, 3, 1, 3, 3, 1};

/// A block of centres of one element; T is Real, or Dual of it.
template <typename Real, typename T> class Kernel {
public:
  Kernel(const HouseParameters<Real> &p, std::size_t max_edges)
      : p_(p), n_slots_(p.n_elements * p.n_radial),
        n_vectors_(3 * p.n_channels), n_matrices_(2 * p.n_channels),
        networks_(p), memory_(size(p, max_edges)) {
    const auto C = static_cast<std::size_t>(p.n_channels);
    const auto slots = static_cast<std::size_t>(n_slots_ * N_MONOMIALS);
    density_ = memory_.take(slots);
    density_bar_ = memory_.take(slots);
    moments_bar_ = memory_.take(C * N_MONOMIALS);
    vectors_bar_ = memory_.take(3 * 3 * C);
    matrices_bar_ = memory_.take(9 * 2 * C);
    descriptors_ = memory_.take(static_cast<std::size_t>(p.n_descriptors));
    for (Site &site : sites_) {
      site.moments = memory_.take(C * N_MONOMIALS);
      site.vectors = memory_.take(3 * 3 * C);
      site.matrices = memory_.take(9 * 2 * C);
      site.radial =
          memory_.take(max_edges * static_cast<std::size_t>(p.n_radial));
      site.radial_slope =
          memory_.take(max_edges * static_cast<std::size_t>(p.n_radial));
      site.angular = memory_.take(max_edges * N_MONOMIALS);
      site.distance = memory_.take(max_edges);
    }
  }

  /// Takes the surroundings of a centre into the block.
  void describe(int lane, int species, int n,
                const std::int64_t *neighbor_species, const T *vectors) {
    site_ = &sites_[lane];
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
    networks_.set_descriptors(lane, descriptors_);
  }

  /// The mean energies of the members of the block's `n_centers` centres.
  void mean(int species, int n_centers) {
    networks_.clear();
    for (int m = 0; m < p_.n_members; m++)
      networks_.add(network_of(m, species),
                    p_.scale / static_cast<Real>(p_.n_members), n_centers);
  }

  /// The energies of one member.
  void member(int m, int species, int n_centers) {
    networks_.clear();
    networks_.add(network_of(m, species), p_.scale, n_centers);
  }

  /// Of a centre of the block, after `mean` or `member`.
  T energy(int lane) const { return networks_.energy(lane); }

  /// From the derivatives of a centre's energy to those of its n edges.
  void descend(int lane, int species, int n,
               const std::int64_t *neighbor_species, T *gradient) {
    site_ = &sites_[lane];
    networks_.get_derivatives(lane, descriptors_);
    const Real *const inverse_deviation =
        p_.inverse_deviation + species * p_.n_descriptors;
    for (int i = 0; i < p_.n_descriptors; i++)
      descriptors_[i] = descriptors_[i] * inverse_deviation[i];
    invariants_backward();
    mix_channels_backward(mix_of(species));
    for (int e = 0; e < n; e++)
      edge_backward(e, static_cast<int>(neighbor_species[e]), gradient + 3 * e);
  }

private:
  /// What is kept of a centre between the two passes.
  struct Site {
    T *moments, *vectors, *matrices;               // of channels
    T *radial, *radial_slope, *angular, *distance; // of edges
  };

  const HouseParameters<Real> &p_;
  int n_slots_, n_vectors_, n_matrices_;
  Networks<Real, T> networks_;
  Scratch<T> memory_;
  Site sites_[LANES<Real>], *site_;
  T *density_, *density_bar_, *moments_bar_, *vectors_bar_, *matrices_bar_;
  T *descriptors_; // or, on the way back, their derivatives

  static std::size_t size(const HouseParameters<Real> &p,
                          std::size_t max_edges) {
    const auto C = static_cast<std::size_t>(p.n_channels),
               K = static_cast<std::size_t>(p.n_radial);
    const std::size_t site = C * N_MONOMIALS + 9 * C + 18 * C +
                             max_edges * (2 * K + N_MONOMIALS + 1);
    return 2 * static_cast<std::size_t>(p.n_elements) * K * N_MONOMIALS +
           C * N_MONOMIALS + 9 * C + 18 * C +
           static_cast<std::size_t>(p.n_descriptors) + LANES<Real> * site;
  }

  const HouseNetwork<Real> &network_of(int member, int species) const {
    return p_.networks[member * p_.n_elements + species];
  }

  const Real *mix_of(int species) const {
    return p_.mix +
           static_cast<std::size_t>(species) *
               static_cast<std::size_t>(n_slots_ * p_.n_channels * N_MONOMIALS);
  }

  /// Radial functions B_k(r) = sin(kπr/r_c)/r (1 − (r/r_c)²)⁴, their slopes,
  /// and the monomials of the unit vector.
  void add_edge(int e, int neighbor, const T *v) {
    const int K = p_.n_radial;
    T *const B = site_->radial + e * K;
    T *const slope = site_->radial_slope + e * K;
    T *const Y = site_->angular + e * N_MONOMIALS;
    const T r = square_root(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
    site_->distance[e] = r;
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
    const T *const B = site_->radial + e * K;
    const T *const slope = site_->radial_slope + e * K;
    const T *const Y = site_->angular + e * N_MONOMIALS;
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
    const T inverse = T(1) / site_->distance[e];
    const T parallel = radial_part - (gx * x + gy * y + gz * z) * inverse;
    gradient[0] = parallel * x + gx * inverse;
    gradient[1] = parallel * y + gy * inverse;
    gradient[2] = parallel * z + gz * inverse;
  }

  /// M[c][m] = Σ_slots mix[slot][c][m] A[slot][m]
  void mix_channels(const Real *mix) {
    const int C = p_.n_channels;
    set_zero(site_->moments, C * N_MONOMIALS);
    for (int slot = 0; slot < n_slots_; slot++) {
      const T *const A = density_ + slot * N_MONOMIALS;
      const Real *const W = mix + slot * C * N_MONOMIALS;
      for (int c = 0; c < C; c++)
        for (int m = 0; m < N_MONOMIALS; m++)
          site_->moments[c * N_MONOMIALS + m] += W[c * N_MONOMIALS + m] * A[m];
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
      const T *const m1 = site_->moments + c * N_MONOMIALS + 1;
      const T *const m2 = m1 + 3;
      const T *const m3 = m2 + 6;
      T *const v1 = site_->vectors + 3 * c;
      T *const v21 = site_->vectors + 3 * (C + c);
      T *const v32 = site_->vectors + 3 * (2 * C + c);
      T *const w2 = site_->matrices + 9 * c;
      T *const w31 = site_->matrices + 9 * (C + c);
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
      *d++ = site_->moments[c * N_MONOMIALS];
    for (int i = 0; i < n_vectors_; i++)
      for (int j = i; j < n_vectors_; j++) {
        const T *const x = site_->vectors + 3 * i, *const y =
                                                       site_->vectors + 3 * j;
        *d++ = x[0] * y[0] + x[1] * y[1] + x[2] * y[2];
      }
    for (int i = 0; i < n_matrices_; i++)
      for (int j = i; j < n_matrices_; j++) {
        const T *const x = site_->matrices + 9 * i, *const y =
                                                        site_->matrices + 9 * j;
        T sum = T(0);
        for (int k = 0; k < 9; k++)
          sum += x[k] * y[k];
        *d++ = sum;
      }
    for (int i = 0; i < C; i++)
      for (int j = i; j < C; j++) {
        const T *const x = site_->moments + i * N_MONOMIALS + 10,
                       *const y = site_->moments + j * N_MONOMIALS + 10;
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
    const T *d = descriptors_;
    for (int c = 0; c < C; c++)
      moments_bar_[c * N_MONOMIALS] = *d++;
    for (int i = 0; i < n_vectors_; i++)
      for (int j = i; j < n_vectors_; j++) {
        const T g = *d++;
        for (int k = 0; k < 3; k++) {
          vectors_bar_[3 * i + k] += g * site_->vectors[3 * j + k];
          vectors_bar_[3 * j + k] += g * site_->vectors[3 * i + k];
        }
      }
    for (int i = 0; i < n_matrices_; i++)
      for (int j = i; j < n_matrices_; j++) {
        const T g = *d++;
        for (int k = 0; k < 9; k++) {
          matrices_bar_[9 * i + k] += g * site_->matrices[9 * j + k];
          matrices_bar_[9 * j + k] += g * site_->matrices[9 * i + k];
        }
      }
    for (int i = 0; i < C; i++)
      for (int j = i; j < C; j++) {
        const T g = *d++;
        for (int k = 0; k < 10; k++) {
          const T weighted = Real(REPEATS3[k]) * g;
          moments_bar_[i * N_MONOMIALS + 10 + k] +=
              weighted * site_->moments[j * N_MONOMIALS + 10 + k];
          moments_bar_[j * N_MONOMIALS + 10 + k] +=
              weighted * site_->moments[i * N_MONOMIALS + 10 + k];
        }
      }
    for (int c = 0; c < C; c++) {
      const T *const m1 = site_->moments + c * N_MONOMIALS + 1;
      const T *const m3 = m1 + 9;
      T *const m1_bar = moments_bar_ + c * N_MONOMIALS + 1;
      T *const m2_bar = m1_bar + 3;
      T *const m3_bar = m2_bar + 6;
      const T *const v1_bar = vectors_bar_ + 3 * c;
      const T *const v21_bar = vectors_bar_ + 3 * (C + c);
      const T *const v32_bar = vectors_bar_ + 3 * (2 * C + c);
      const T *const w2 = site_->matrices + 9 * c;
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

/// Describes the centres in blocks of one element, and calls evaluate(kernel,
/// element, centres, number of centres) for each; load(edge) gives a component
/// of an edge vector.
template <typename Real, typename T, typename Load, typename Evaluate>
void for_blocks(const HouseParameters<Real> &p, const HouseEdges &edges,
                Load load, Evaluate evaluate) {
  const std::size_t most = most_edges(edges);
  Kernel<Real, T> kernel(p, most);
  Scratch<T> memory(3 * most);
  T *const vectors = memory.take(3 * most);
  for (int species = 0; species < p.n_elements; species++) {
    std::size_t centers[LANES<Real>];
    int count = 0;
    for (std::size_t c = 0; c < edges.n_centers; c++) {
      if (edges.species[c] == species) {
        const std::size_t first = edges.first_edge[c];
        const int n = static_cast<int>(edges.first_edge[c + 1] - first);
        for (std::size_t i = 0; i < 3 * static_cast<std::size_t>(n); i++)
          vectors[i] = load(3 * first + i);
        kernel.describe(count, species, n, edges.neighbor_species + first,
                        vectors);
        centers[count++] = c;
      }
      if (count == LANES<Real> || (count > 0 && c + 1 == edges.n_centers)) {
        evaluate(kernel, species, centers, count);
        count = 0;
      }
    }
  }
}

/// Gives the gradient of each centre of a block to store(edge component,
/// value).
template <typename Real, typename T, typename Store>
void descend(Kernel<Real, T> &kernel, T *slopes, const HouseEdges &edges,
             int species, const std::size_t *centers, int count, Store store) {
  for (int lane = 0; lane < count; lane++) {
    const std::size_t first = edges.first_edge[centers[lane]];
    const std::size_t n = edges.first_edge[centers[lane] + 1] - first;
    kernel.descend(lane, species, static_cast<int>(n),
                   edges.neighbor_species + first, slopes);
    for (std::size_t i = 0; i < 3 * n; i++)
      store(3 * first + i, slopes[i]);
  }
}

template <typename Real>
void evaluate(const HouseParameters<Real> &p, const HouseEdges &edges,
              double *energies, double *gradient) {
  const std::size_t most = 3 * most_edges(edges);
  Scratch<Real> memory(most);
  Real *const slopes = memory.take(most);
  for_blocks<Real, Real>(
      p, edges,
      [&](std::size_t i) { return static_cast<Real>(edges.vectors[i]); },
      [&](Kernel<Real, Real> &kernel, int species, const std::size_t *centers,
          int count) {
        kernel.mean(species, count);
        for (int lane = 0; lane < count; lane++)
          energies[centers[lane]] = static_cast<double>(kernel.energy(lane));
        descend(kernel, slopes, edges, species, centers, count,
                [&](std::size_t i, Real slope) {
                  gradient[i] = static_cast<double>(slope);
                });
      });
}

template <typename Real>
void members(const HouseParameters<Real> &p, const HouseEdges &edges,
             double *energies, double *gradient) {
  const std::size_t most = 3 * most_edges(edges);
  Scratch<Real> memory(most);
  Real *const slopes = memory.take(most);
  const std::size_t size = 3 * edges.first_edge[edges.n_centers];
  for_blocks<Real, Real>(
      p, edges,
      [&](std::size_t i) { return static_cast<Real>(edges.vectors[i]); },
      [&](Kernel<Real, Real> &kernel, int species, const std::size_t *centers,
          int count) {
        for (int m = 0; m < p.n_members; m++) {
          const auto member = static_cast<std::size_t>(m);
          kernel.member(m, species, count);
          for (int lane = 0; lane < count; lane++)
            energies[member * edges.n_centers + centers[lane]] =
                static_cast<double>(kernel.energy(lane));
          descend(kernel, slopes, edges, species, centers, count,
                  [&](std::size_t i, Real slope) {
                    gradient[member * size + i] = static_cast<double>(slope);
                  });
        }
      });
}

template <typename Real>
void hvp(const HouseParameters<Real> &p, const HouseEdges &edges,
         const double *directions, double *products) {
  using T = Dual<Real>;
  const std::size_t most = 3 * most_edges(edges);
  Scratch<T> memory(most);
  T *const slopes = memory.take(most);
  for_blocks<Real, T>(
      p, edges,
      [&](std::size_t i) {
        return T(static_cast<Real>(edges.vectors[i]),
                 static_cast<Real>(directions[i]));
      },
      [&](Kernel<Real, T> &kernel, int species, const std::size_t *centers,
          int count) {
        kernel.mean(species, count);
        descend(kernel, slopes, edges, species, centers, count,
                [&](std::size_t i, const T &slope) {
                  products[i] = static_cast<double>(slope.b);
                });
      });
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
