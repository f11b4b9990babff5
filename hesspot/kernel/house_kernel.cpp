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

/// Where each element (row by row) of a symmetric 3 × 3 matrix stands among the
/// independent ones, and element (a, u) of a symmetric 3 × 3 × 3 tensor, u an
/// independent element of a matrix.
constexpr int FULL2[3][3] = {{0, 1, 2}, {1, 3, 4}, {2, 4, 5}};
constexpr int FULL3[3][6] = {
    {0, 1, 2, 3, 4, 5}, {1, 3, 4, 6, 7, 8}, {2, 4, 5, 7, 8, 9}};
/// How often each independent element occurs in the full matrix or tensor.
constexpr int REPEATS1[3] = {1, 1, 1};
constexpr int REPEATS2[6] = {1, 2, 2, 1, 2, 1};
constexpr int REPEATS3[10] = {1, 3, 3, 3, 6, 3, 1, 3, 3, 1};
/// The first monomial of each rank, and their end.
constexpr int RANKS[5] = {0, 1, 4, 10, N_MONOMIALS};

/// Edges whose numbers stay in the nearest cache.
constexpr int EDGES_AT_ONCE = 8;

/// Products of all pairs i ≤ j of `n` tensors, whose independent elements stand
/// `step` apart.
template <int N, typename T>
T *contract(const T *tensors, int step, int n, const int (&repeats)[N],
            T *products) {
  const T *const end = tensors + n * step;
  for (; tensors < end; tensors += step) {
    T x[N];
    for (int k = 0; k < N; k++)
      x[k] = typename T::Scalar(repeats[k]) * tensors[k];
    for (const T *other = tensors; other < end; other += step) {
      T sum = x[0] * other[0];
      for (int k = 1; k < N; k++)
        sum += x[k] * other[k];
      *products++ = sum;
    }
  }
  return products;
}

/// Adds to `bars` the derivatives with respect to the independent elements.
template <int N, typename T>
[[gnu::always_inline]] inline const T *
contract_backward(const T *tensors, int step, int n, const int (&repeats)[N],
                  const T *products_bar, T *bars) {
  const T *const end = tensors + n * step;
  for (; tensors < end; tensors += step, bars += step) {
    T x[N], sum[N];
    for (int k = 0; k < N; k++) {
      x[k] = typename T::Scalar(repeats[k]) * tensors[k];
      sum[k] = T(0);
    }
    T *other_bar = bars;
    for (const T *other = tensors; other < end;
         other += step, other_bar += step) {
      const T bar = *products_bar++;
      for (int k = 0; k < N; k++) {
        sum[k] += bar * other[k];
        other_bar[k] += bar * x[k];
      }
    }
    for (int k = 0; k < N; k++)
      bars[k] += typename T::Scalar(repeats[k]) * sum[k];
  }
  return products_bar;
}

/// What stands beside the vectors of the edges in dual and hyper-dual numbers,
/// each (3 n_edges), or null for zeros.
struct Beside {
  const double *first = nullptr, *second = nullptr, *both = nullptr;
};

/// A block of centres of one element, one in each lane.
template <typename T> class Kernel {
public:
  typedef typename T::Scalar Real;

  Kernel(const HouseParameters<Real> &p, const Edges &edges, Beside beside,
         Memory &memory)
      : p_(p), edges_(edges), beside_(beside),
        n_slots_(p.n_elements * p.n_radial), networks_(p, memory) {
    const auto C = static_cast<std::size_t>(p.n_channels),
               S = static_cast<std::size_t>(p.n_elements),
               K = static_cast<std::size_t>(p.n_radial),
               places = S * most_edges(edges);
    density_ = memory.take<T>(S * K * N_MONOMIALS);
    density_bar_ = memory.take<T>(S * K * N_MONOMIALS);
    density_part_ =
        memory.take<T>(p.n_descriptions > 1 ? S * K * N_MONOMIALS : 0);
    moments_ = memory.take<T>(C * N_MONOMIALS);
    moments_bar_ = memory.take<T>(C * N_MONOMIALS);
    vectors_ = memory.take<T>(3 * N_VECTORS * C);
    vectors_bar_ = memory.take<T>(3 * N_VECTORS * C);
    matrices_ = memory.take<T>(6 * N_MATRICES * C);
    matrices_bar_ = memory.take<T>(6 * N_MATRICES * C);
    filled_ = memory.take<int>(S * T::COUNT);
    start_ = memory.take<int>(S + 1);
    edge_ = memory.take<std::size_t>(places * T::COUNT);
    vector_ = memory.take<T>(places * 3);
    inverse_ = memory.take<T>(places);
    radial_ = memory.take<T>(places * K);
    radial_slope_ = memory.take<T>(places * K);
    angular_ = memory.take<T>(places * N_MONOMIALS);
    is_close_ = memory.take<bool>(places);
    core_slope_ = memory.take<T>(places);
  }

  /// Takes centres into the block, no more than there are lanes.
  void place(int species, const std::size_t *centers, int n_centers) {
    species_ = species;
    n_centers_ = n_centers;
    core_energy_ = T(0);
    place_edges(centers);
    add_edges();
  }

  /// The mean energies of all members, and their slopes.
  void mean(double *slopes) {
    energy_ = core_energy_;
    for (int i = 0; i < p_.n_descriptions; i++) {
      describe(p_.descriptions[i]);
      mean_of_networks();
      energy_ += networks_.energy;
      descend(i ? density_part_ : density_bar_);
      if (i)
        for (int k = 0; k < n_slots_ * N_MONOMIALS; k++)
          density_bar_[k] += density_part_[k];
    }
    edges_backward(slopes);
  }

  /// The standardised descriptors (n_descriptors) of the first description.
  const T *descriptors() {
    describe(p_.descriptions[0]);
    return networks_.descriptors;
  }

  /// Calls next(m) for each member m, after which `energy` is that member's,
  /// and slopes_of(m) for where its slopes go.
  template <typename Next, typename SlopesOf>
  void members(Next next, SlopesOf slopes_of) {
    members(next, slopes_of,
            [](int) { return static_cast<double *>(nullptr); });
  }

  /// Also values_of(m) for where the values of dual slopes go.
  template <typename Next, typename SlopesOf, typename ValuesOf>
  void members(Next next, SlopesOf slopes_of, ValuesOf values_of) {
    int member = 0;
    for (int i = 0; i < p_.n_descriptions; i++) {
      describe(p_.descriptions[i]);
      for (int m = 0; m < description_->n_members; m++, member++) {
        networks_.clear();
        networks_.add(network_of(m), description_->scale);
        energy_ = networks_.energy + core_energy_;
        next(member);
        descend(density_bar_);
        edges_backward(slopes_of(member), values_of(member));
      }
    }
  }

  /// Of Jets: calls add(row, column, block) for pairs of places, row ≥ column;
  /// the sums of these blocks (3, 3) are the second derivatives of the mean
  /// energies with respect to the vectors there. `pieces` is memory of
  /// hessians_memory().
  ///
  /// Within a description the energy depends on the vectors through the
  /// moments M alone, each of which is a sum over the edges. So its Hessian is
  /// (∂M/∂x)ᵀ ∂²E/∂M² ∂M/∂x', and on the diagonal what each edge has alone.
  template <typename Add> void hessians(Lanes<Real> *pieces, Add add) {
    const int size = 3 * p_.n_channels * N_MONOMIALS,
              n_places = start_[p_.n_elements];
    for (int s = 0; s < p_.n_elements; s++)
      for (int place = start_[s]; place < start_[s + 1]; place++) {
        for (int i = 0; i < 3; i++)
          vector_[3 * place + i].b[i] = Lanes<Real>(Real(1));
        describe_edge(place, p_.cores[species_ * p_.n_elements + s]);
      }
    Lanes<Real> *const edge = pieces, *const slopes = pieces + 3 * p_.n_radial *
                                                                   N_MONOMIALS;
    for (int d = 0; d < p_.n_descriptions; d++) {
      describe(p_.descriptions[d]);
      mean_of_networks();
      descend(d ? density_part_ : density_bar_);
      for (int k = 0; d && k < n_slots_ * N_MONOMIALS; k++)
        density_bar_[k] += density_part_[k];
      for (int s = 0; s < p_.n_elements; s++)
        for (int place = start_[s]; place < start_[s + 1]; place++)
          moment_slopes(s, place, edge, slopes + place * size);
      for (int column = 0; column < n_places; column++) {
        along_moments(slopes + column * size);
        for (int row = column; row < n_places; row++) {
          Lanes<Real> block[9];
          moment_block(slopes + row * size, block);
          add(row, column, block);
        }
      }
    }
    for (int s = 0; s < p_.n_elements; s++)
      for (int place = start_[s]; place < start_[s + 1]; place++) {
        T gradient[3];
        edge_backward(place, density_bar_ + s * p_.n_radial * N_MONOMIALS,
                      gradient);
        Lanes<Real> block[9];
        for (int i = 0; i < 3; i++)
          for (int j = 0; j < 3; j++)
            block[3 * i + j] = gradient[i].b[j];
        add(place, place, block);
      }
  }

  /// How many numbers `hessians` needs for centres with these edges.
  static std::size_t hessians_memory(const HouseParameters<Real> &p,
                                     const Edges &edges) {
    const auto places =
        static_cast<std::size_t>(p.n_elements) * most_edges(edges);
    return 3 * N_MONOMIALS *
           (static_cast<std::size_t>(p.n_radial) +
            places * static_cast<std::size_t>(p.n_channels));
  }

  /// The edge at a place and in a lane, among those of its centre; -1 if there
  /// is none.
  std::ptrdiff_t edge_at(int place, int lane, std::size_t center) const {
    const std::size_t edge = edge_[place * T::COUNT + lane];
    return edge == NO_EDGE
               ? -1
               : static_cast<std::ptrdiff_t>(edge - edges_.first_edge[center]);
  }

  /// Adds the last part of the derivatives of `seed` times the energies of one
  /// member to sums over n_weights.
  void add_to_weights(int member, const T &seed, Lanes<Real> *sums) {
    int i = 0;
    for (; member >= p_.descriptions[i].n_members; i++)
      member -= p_.descriptions[i].n_members;
    describe(p_.descriptions[i]);
    const int n_mix = 4 * n_slots_ * p_.n_channels;
    networks_.add_to_weights(network_of(member), description_->scale * seed,
                             sums + n_mix);
    descend_to_moments();
    mix_weights(sums);
  }

  /// Of each centre, after `mean` or within `members`.
  const T &energy() const { return energy_; }

private:
  static constexpr std::size_t NO_EDGE = static_cast<std::size_t>(-1);

  const HouseParameters<Real> &p_;
  const Edges &edges_;
  const Beside beside_;
  int n_slots_, species_ = 0, n_centers_ = 0;
  const HouseDescription<Real> *description_ = nullptr;
  Networks<T> networks_;
  T energy_, core_energy_;
  T *density_, *density_bar_, *density_part_; // (slots, monomials)
  T *moments_, *moments_bar_;                 // (channels, monomials)
  T *vectors_, *vectors_bar_;                 // (3 channels, 3)
  T *matrices_, *matrices_bar_;               // (2 channels, 6)
  int *filled_, *start_;                      // places of each element
  std::size_t *edge_;                         // (places, lanes)
  T *vector_, *inverse_, *radial_, *radial_slope_, *angular_; // (places, ...)
  bool *is_close_; // (places): some lane is within the core
  T *core_slope_;  // (places), of its energies where it is close

  /// The mean energies of the members that have this description.
  void mean_of_networks() {
    networks_.clear();
    for (int m = 0; m < description_->n_members; m++)
      networks_.add(network_of(m),
                    description_->scale / static_cast<Real>(p_.n_members));
  }

  /// ∂M/∂x of the edge at a place, (channels, monomials, 3); `edge` for
  /// (radial, monomials, 3) between.
  void moment_slopes(int s, int place, Lanes<Real> *edge,
                     Lanes<Real> *slopes) const {
    const int K = p_.n_radial, C = p_.n_channels;
    const T *const B = radial_ + place * K;
    const T *const Y = angular_ + place * N_MONOMIALS;
    for (int k = 0; k < K; k++)
      for (int m = 0; m < N_MONOMIALS; m++) {
        const T product = B[k] * Y[m];
        for (int i = 0; i < 3; i++)
          edge[3 * (k * N_MONOMIALS + m) + i] = product.b[i];
      }
    for (int rank = 0; rank < 4; rank++)
      for (int m = 3 * RANKS[rank]; m < 3 * RANKS[rank + 1]; m++)
        product<false, Lanes<Real>>({mix_of(rank) + s * K * C, 1, C}, C, K,
                                    {edge + m, 3 * N_MONOMIALS},
                                    {slopes + m, 3 * N_MONOMIALS});
  }

  /// Gives the moments their derivatives along three directions, and
  /// moments_bar_ those of the derivatives with respect to the moments.
  [[gnu::noinline]] // what it calls is inlined into it then
  void along_moments(const Lanes<Real> *slopes) {
    for (int i = 0; i < p_.n_channels * N_MONOMIALS; i++)
      for (int j = 0; j < 3; j++)
        moments_[i].b[j] = slopes[3 * i + j];
    describe_moments();
    mean_of_networks();
    descend_to_moments();
  }

  /// (3, 3): the derivatives from along_moments in the directions of `slopes`.
  void moment_block(const Lanes<Real> *slopes, Lanes<Real> *block) const {
    Lanes<Real> sum[9];
    set_zero(sum, 9);
    for (int i = 0; i < p_.n_channels * N_MONOMIALS; i++)
      for (int j = 0; j < 3; j++)
        for (int k = 0; k < 3; k++)
          sum[3 * j + k] += slopes[3 * i + j] * moments_bar_[i].b[k];
    for (int i = 0; i < 9; i++)
      block[i] = sum[i];
  }

  void describe(const HouseDescription<Real> &description) {
    description_ = &description;
    mix_channels();
    describe_moments();
  }

  /// The standardised descriptors of the centres, from their moments.
  [[gnu::always_inline]] inline void describe_moments() {
    invariants();
    const Real *const mean = description_->mean + species_ * p_.n_descriptors;
    const Real *const inverse_deviation =
        description_->inverse_deviation + species_ * p_.n_descriptors;
    T *const d = networks_.descriptors;
    for (int i = 0; i < p_.n_descriptors; i++)
      d[i] = inverse_deviation[i] * (d[i] - T(mean[i]));
  }

  /// From the derivatives of the energies with respect to the descriptors to
  /// those with respect to the densities.
  [[gnu::noinline]] // what it calls is inlined into it then
  void descend(T *density_bar) {
    descend_to_moments();
    mix_channels_backward(density_bar);
  }

  [[gnu::always_inline]] inline void descend_to_moments() {
    const Real *const inverse_deviation =
        description_->inverse_deviation + species_ * p_.n_descriptors;
    T *const d = networks_.derivatives;
    for (int i = 0; i < p_.n_descriptors; i++)
      d[i] = inverse_deviation[i] * d[i];
    invariants_backward();
  }

  /// From the derivatives with respect to the densities to those of the edges,
  /// which are stored in slopes[3 · edge ...]; of dual numbers, their
  /// derivatives, and in `values`, unless it is null, themselves.
  void edges_backward(double *slopes, double *values = nullptr) {
    for (int s = 0; s < p_.n_elements; s++)
      for (int place = start_[s]; place < start_[s + 1]; place++) {
        T gradient[3];
        edge_backward(place, density_bar_ + s * p_.n_radial * N_MONOMIALS,
                      gradient);
        for (int lane = 0; lane < n_centers_; lane++) {
          const std::size_t edge = edge_[place * T::COUNT + lane];
          if (edge == NO_EDGE)
            continue;
          for (int i = 0; i < 3; i++)
            slopes[3 * edge + static_cast<std::size_t>(i)] =
                result(gradient[i], lane);
          for (int i = 0; values && i < 3; i++)
            values[3 * edge + static_cast<std::size_t>(i)] =
                result(value_of(gradient[i]), lane);
        }
      }
  }

  static double at(const double *values, std::size_t i) {
    return values ? values[i] : 0.0;
  }

  static std::size_t most_edges(const Edges &edges) {
    std::size_t most = 1;
    for (std::size_t c = 0; c < edges.n_centers; c++) {
      const std::size_t n = edges.first_edge[c + 1] - edges.first_edge[c];
      if (n > most)
        most = n;
    }
    return most;
  }

  const HouseNetwork<Real> &network_of(int member) const {
    return description_->networks[member * p_.n_elements + species_];
  }

  /// The weights of moments of one rank, (slots, channels).
  const Real *mix_of(int rank) const {
    return description_->mix + (species_ * 4 + rank) * n_slots_ * p_.n_channels;
  }

  /// Gives every edge a place among those to its element. Places that a lane
  /// has no edge for hold a vector that ends at the cutoff.
  void place_edges(const std::size_t *centers) {
    constexpr int L = T::COUNT;
    for (int i = 0; i < p_.n_elements * L; i++)
      filled_[i] = 0;
    for (int lane = 0; lane < n_centers_; lane++)
      for (std::size_t e = edges_.first_edge[centers[lane]];
           e < edges_.first_edge[centers[lane] + 1]; e++)
        filled_[edges_.neighbor_species[e] * L + lane]++;
    start_[0] = 0;
    for (int s = 0; s < p_.n_elements; s++) {
      int most = 0;
      for (int lane = 0; lane < L; lane++)
        if (filled_[s * L + lane] > most)
          most = filled_[s * L + lane];
      start_[s + 1] = start_[s] + most;
      for (int lane = 0; lane < L; lane++) {
        for (int place = start_[s] + filled_[s * L + lane];
             place < start_[s + 1]; place++) {
          edge_[place * L + lane] = NO_EDGE;
          for (int i = 0; i < 3; i++)
            put(vector_[3 * place + i], lane,
                i ? 0.0 : static_cast<double>(p_.cutoff), 0.0);
        }
        filled_[s * L + lane] = start_[s];
      }
    }
    for (int lane = 0; lane < n_centers_; lane++)
      for (std::size_t e = edges_.first_edge[centers[lane]];
           e < edges_.first_edge[centers[lane] + 1]; e++) {
        const int place = filled_[edges_.neighbor_species[e] * L + lane]++;
        edge_[place * L + lane] = e;
        for (std::size_t i = 0; i < 3; i++)
          put(vector_[3 * place + static_cast<int>(i)], lane,
              edges_.vectors[3 * e + i], at(beside_.first, 3 * e + i),
              at(beside_.second, 3 * e + i), at(beside_.both, 3 * e + i));
      }
  }

  void add_edges() {
    const int K = p_.n_radial;
    set_zero(density_, n_slots_ * N_MONOMIALS);
    for (int s = 0; s < p_.n_elements; s++)
      for (int place = start_[s]; place < start_[s + 1];
           place += EDGES_AT_ONCE) {
        const int left = start_[s + 1] - place;
        const int n = left < EDGES_AT_ONCE ? left : EDGES_AT_ONCE;
        for (int e = 0; e < n; e++)
          describe_edge(place + e, p_.cores[species_ * p_.n_elements + s]);
        T *const A = density_ + s * K * N_MONOMIALS;
        int k = 0;
        constexpr int AT_ONCE = 4 / PARTS<T>;
        for (; AT_ONCE > 1 && k + AT_ONCE <= K; k += AT_ONCE)
          add_density<AT_ONCE>(place, n, k, A);
        for (; k < K; k++)
          add_density<1>(place, n, k, A);
      }
  }

  /// Radial functions B_k(r) = sin(kπr/r_c)/r (1 − (r/r_c)²)⁴, their slopes,
  /// and the monomials of the unit vector; within the core those of the
  /// distance that the networks see.
  void describe_edge(int place, const HouseCore<Real> &core) {
    const int K = p_.n_radial;
    const T *const v = vector_ + 3 * place;
    T *const B = radial_ + place * K;
    T *const slope = radial_slope_ + place * K;
    T *const Y = angular_ + place * N_MONOMIALS;
    const T r = square_root(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
    const T inverse = T(1) / r;
    inverse_[place] = inverse;
    T seen = r, of_seen = inverse, stretch = T(1);
    is_close_[place] = any_below(value_of(r), core.outer);
    if (is_close_[place]) {
      repel(place, core, r, inverse, seen, stretch);
      of_seen = T(1) / seen;
    }
    const T fraction = at_most(Real(1) / p_.cutoff * seen, Real(1));
    const T rest = T(1) - fraction * fraction;
    const T cube = rest * rest * rest;
    const T envelope = cube * rest * of_seen;
    const T envelope_slope =
        (Real(-8) / p_.cutoff * (fraction * cube) - envelope) * of_seen;
    T sine, cosine;
    sine_cosine_of_pi(fraction, sine, cosine);
    const T twice = cosine + cosine;
    T sine_before = T(0), cosine_before = T(1);
    const Real step = Real(3.14159265358979323846) / p_.cutoff;
    for (int k = 0; k < K; k++) {
      B[k] = sine * envelope;
      slope[k] =
          Real(k + 1) * step * (cosine * envelope) + sine * envelope_slope;
      const T next_sine = twice * sine - sine_before,
              next_cosine = twice * cosine - cosine_before;
      sine_before = sine, cosine_before = cosine;
      sine = next_sine, cosine = next_cosine;
    }
    if (is_close_[place])
      for (int k = 0; k < K; k++)
        slope[k] = slope[k] * stretch;
    const T x = v[0] * inverse, y = v[1] * inverse, z = v[2] * inverse;
    const T xx = x * x, xy = x * y, xz = x * z, yy = y * y, yz = y * z,
            zz = z * z;
    const T all[N_MONOMIALS] = {T(1),   x,      y,      z,      xx,
                                xy,     xz,     yy,     yz,     zz,
                                xx * x, xx * y, xx * z, xy * y, xy * z,
                                xz * z, yy * y, yy * z, yz * z, zz * z};
    for (int m = 0; m < N_MONOMIALS; m++)
      Y[m] = all[m];
  }

  /// Half the energy of an edge's core and its slope, the distance that the
  /// networks see, and its derivative.
  [[gnu::noinline]] // seldom called
  void repel(int place, const HouseCore<Real> &core, const T &r,
             const T &inverse, T &seen, T &stretch) {
    // the universal potential (Ziegler, Biersack, Littmark 1985)
    constexpr double WEIGHT[4] = {0.18175, 0.50986, 0.28022, 0.02817};
    constexpr double DECAY[4] = {3.1998, 0.94229, 0.4029, 0.20162};
    T screening = T(0), screening_slope = T(0);
    for (int i = 0; i < 4; i++) {
      const Real decay = Real(DECAY[i]) / core.length;
      const T term = Real(WEIGHT[i]) * exponential(-decay * r);
      screening += term;
      screening_slope += -decay * term;
    }
    const T over_r = core.strength * inverse;
    const T potential = over_r * screening;
    const T potential_slope = over_r * screening_slope - potential * inverse;
    // the switch s = x⁴ (35 − 84x + 70x² − 20x³), its slope, and its integral
    const Real width = core.outer - core.inner;
    const T x = at_least(
        at_most(Real(1) / width * (T(core.outer) - r), Real(1)), Real(0));
    const T rest = T(1) - x, square = x * x, fourth = square * square;
    const T s = fourth * (T(35) - x * (T(84) - x * (T(70) - Real(20) * x)));
    const T s_slope = Real(-140) / width * (square * x * rest * rest * rest);
    const T integral =
        fourth * x * (T(7) - x * (T(14) - x * (T(10) - Real(2.5) * x)));
    seen = at_least(r, core.inner) + width * integral;
    stretch = T(1) - s;
    core_energy_ += Real(0.5) * (s * potential);
    core_slope_[place] =
        Real(0.5) * (s * potential_slope + s_slope * potential);
  }

  /// A[k][m] += Σ_edges B[k] Y[m] for R of the radial functions.
  template <int R> void add_density(int place, int n, int k, T *A) {
    constexpr int M = 4;
    const int K = p_.n_radial;
    A += k * N_MONOMIALS;
    for (int m = 0; m < N_MONOMIALS; m += M) {
      T sum[R][M];
      for (int i = 0; i < R; i++)
        for (int j = 0; j < M; j++)
          sum[i][j] = A[i * N_MONOMIALS + m + j];
      const T *B = radial_ + place * K + k;
      const T *Y = angular_ + place * N_MONOMIALS + m;
      for (int e = 0; e < n; e++, B += K, Y += N_MONOMIALS)
        for (int i = 0; i < R; i++)
          for (int j = 0; j < M; j++)
            sum[i][j] += B[i] * Y[j];
      for (int i = 0; i < R; i++)
        for (int j = 0; j < M; j++)
          A[i * N_MONOMIALS + m + j] = sum[i][j];
    }
  }

  void edge_backward(int place, const T *A_bar, T *gradient) const {
    const int K = p_.n_radial;
    const T *const B = radial_ + place * K;
    const T *const slope = radial_slope_ + place * K;
    const T *const Y = angular_ + place * N_MONOMIALS;
    T b[N_MONOMIALS];
    set_zero(b, N_MONOMIALS);
    T radial_part = T(0);
    for (int k = 0; k < K; k++, A_bar += N_MONOMIALS) {
      T along[2] = {T(0), T(0)};
#pragma GCC unroll 20
      for (int m = 0; m < N_MONOMIALS; m++) {
        const T bar = A_bar[m];
        b[m] += B[k] * bar;
        along[m % 2] += Y[m] * bar;
      }
      radial_part += slope[k] * (along[0] + along[1]);
    }
    if (is_close_[place])
      radial_part += core_slope_[place];
    const T x = Y[1], y = Y[2], z = Y[3];
    const Real two(2), three(3);
    const T gx = b[1] + two * (x * b[4] + Y[5] * b[11] + Y[6] * b[12]) +
                 y * b[5] + z * b[6] + three * (Y[4] * b[10]) + Y[7] * b[13] +
                 Y[8] * b[14] + Y[9] * b[15];
    const T gy = b[2] + two * (y * b[7] + Y[5] * b[13] + Y[8] * b[17]) +
                 x * b[5] + z * b[8] + three * (Y[7] * b[16]) + Y[4] * b[11] +
                 Y[6] * b[14] + Y[9] * b[18];
    const T gz = b[3] + two * (z * b[9] + Y[6] * b[15] + Y[8] * b[18]) +
                 x * b[6] + y * b[8] + three * (Y[9] * b[19]) + Y[4] * b[12] +
                 Y[5] * b[14] + Y[7] * b[17];
    const T inverse = inverse_[place];
    const T parallel = radial_part - (gx * x + gy * y + gz * z) * inverse;
    gradient[0] = parallel * x + gx * inverse;
    gradient[1] = parallel * y + gy * inverse;
    gradient[2] = parallel * z + gz * inverse;
  }

  /// M[c][m] = Σ_slots mix[slot][c] A[slot][m]
  void mix_channels() {
    const int C = p_.n_channels;
    for (int rank = 0; rank < 4; rank++)
      for (int m = RANKS[rank]; m < RANKS[rank + 1]; m++)
        product<false, T>({mix_of(rank), 1, C}, C, n_slots_,
                          {density_ + m, N_MONOMIALS},
                          {moments_ + m, N_MONOMIALS});
  }

  void mix_channels_backward(T *density_bar) {
    const int C = p_.n_channels;
    for (int rank = 0; rank < 4; rank++)
      for (int m = RANKS[rank]; m < RANKS[rank + 1]; m++)
        product<false, T>({mix_of(rank), C, 1}, n_slots_, C,
                          {moments_bar_ + m, N_MONOMIALS},
                          {density_bar + m, N_MONOMIALS});
  }

  /// Adds the last part of the derivatives with respect to the weights of the
  /// channels.
  void mix_weights(Lanes<Real> *sums) const {
    const int C = p_.n_channels;
    const auto next = [&]<int S, int R>(int rank, int slot, int c) {
      Lanes<Real> sum[S][R];
      for (int s = 0; s < S; s++)
        for (int r = 0; r < R; r++)
          sum[s][r] = sums[(slot + s) * C + c + r];
      for (int m = RANKS[rank]; m < RANKS[rank + 1]; m++)
        for (int s = 0; s < S; s++)
          for (int r = 0; r < R; r++)
            sum[s][r] +=
                last_of_product(moments_bar_[(c + r) * N_MONOMIALS + m],
                                density_[(slot + s) * N_MONOMIALS + m]);
      for (int s = 0; s < S; s++)
        for (int r = 0; r < R; r++)
          sums[(slot + s) * C + c + r] = sum[s][r];
    };
    for (int rank = 0; rank < 4; rank++, sums += n_slots_ * C) {
      int slot = 0;
      for (; slot + 2 <= n_slots_; slot += 2) {
        int c = 0;
        for (; c + 2 <= C; c += 2)
          next.template operator()<2, 2>(rank, slot, c);
        if (c < C)
          next.template operator()<2, 1>(rank, slot, c);
      }
      for (int c = 0; slot < n_slots_ && c < C; c++)
        next.template operator()<1, 1>(rank, slot, c);
    }
  }

  /// The vectors M¹, M²·M¹, M³:M² and the matrices M², M³·M¹ of all channels,
  /// and the descriptors.
  void invariants() {
    const int C = p_.n_channels;
    for (int c = 0; c < C; c++) {
      const T *const m1 = moments_ + c * N_MONOMIALS + RANKS[1];
      const T *const m2 = m1 + 3, *const m3 = m2 + 6;
      T *const v1 = vectors_ + 3 * c, *const v21 = v1 + 3 * C,
               *const v32 = v21 + 3 * C;
      T *const w2 = matrices_ + 6 * c, *const w31 = w2 + 6 * C;
      for (int u = 0; u < 6; u++) {
        w2[u] = m2[u];
        w31[u] = m3[FULL3[0][u]] * m1[0] + m3[FULL3[1][u]] * m1[1] +
                 m3[FULL3[2][u]] * m1[2];
      }
      for (int a = 0; a < 3; a++) {
        v1[a] = m1[a];
        v21[a] = m2[FULL2[a][0]] * m1[0] + m2[FULL2[a][1]] * m1[1] +
                 m2[FULL2[a][2]] * m1[2];
        v32[a] = T(0);
        for (int u = 0; u < 6; u++)
          v32[a] += Real(REPEATS2[u]) * (m3[FULL3[a][u]] * m2[u]);
      }
    }
    T *d = networks_.descriptors;
    for (int c = 0; c < C; c++)
      *d++ = moments_[c * N_MONOMIALS];
    d = contract(vectors_, 3, N_VECTORS * C, REPEATS1, d);
    d = contract(matrices_, 6, N_MATRICES * C, REPEATS2, d);
    contract(moments_ + RANKS[3], N_MONOMIALS, C, REPEATS3, d);
  }

  void invariants_backward() {
    const int C = p_.n_channels;
    set_zero(moments_bar_, C * N_MONOMIALS);
    set_zero(vectors_bar_, 3 * N_VECTORS * C);
    set_zero(matrices_bar_, 6 * N_MATRICES * C);
    const T *d = networks_.derivatives;
    for (int c = 0; c < C; c++)
      moments_bar_[c * N_MONOMIALS] = *d++;
    d = contract_backward(vectors_, 3, N_VECTORS * C, REPEATS1, d,
                          vectors_bar_);
    d = contract_backward(matrices_, 6, N_MATRICES * C, REPEATS2, d,
                          matrices_bar_);
    contract_backward(moments_ + RANKS[3], N_MONOMIALS, C, REPEATS3, d,
                      moments_bar_ + RANKS[3]);
    for (int c = 0; c < C; c++) {
      const T *const m1 = moments_ + c * N_MONOMIALS + RANKS[1];
      const T *const m2 = m1 + 3, *const m3 = m2 + 6;
      T *const m1_bar = moments_bar_ + c * N_MONOMIALS + RANKS[1];
      T *const m2_bar = m1_bar + 3, *const m3_bar = m2_bar + 6;
      const T *const v1_bar = vectors_bar_ + 3 * c;
      const T *const v21_bar = v1_bar + 3 * C, *const v32_bar = v21_bar + 3 * C;
      const T *const w2_bar = matrices_bar_ + 6 * c;
      const T *const w31_bar = w2_bar + 6 * C;
      for (int u = 0; u < 6; u++)
        m2_bar[u] += w2_bar[u];
      for (int a = 0; a < 3; a++) {
        m1_bar[a] += v1_bar[a];
        for (int b = 0; b < 3; b++) {
          m2_bar[FULL2[a][b]] += v21_bar[a] * m1[b];
          m1_bar[b] += v21_bar[a] * m2[FULL2[a][b]];
        }
        for (int u = 0; u < 6; u++) {
          const int t = FULL3[a][u];
          const T twice = Real(REPEATS2[u]) * v32_bar[a];
          m3_bar[t] += twice * m2[u] + w31_bar[u] * m1[a];
          m2_bar[u] += twice * m3[t];
          m1_bar[a] += w31_bar[u] * m3[t];
        }
      }
    }
  }
};

/// Calls evaluate(kernel, centres, their number) for blocks of one element that
/// the kernel has placed.
template <typename T, typename Evaluate>
void for_blocks(const HouseParameters<typename T::Scalar> &p,
                const Edges &edges, Beside beside, Evaluate evaluate) {
  thread_local Memory memory;
  memory.provide([&](Memory &pieces) {
    Kernel<T> kernel(p, edges, beside, pieces);
    if (!pieces.ready())
      return;
    for (int species = 0; species < p.n_elements; species++) {
      std::size_t centers[T::COUNT];
      int count = 0;
      for (std::size_t c = 0; c < edges.n_centers; c++) {
        if (edges.species[c] == species)
          centers[count++] = c;
        if (count == T::COUNT || (count > 0 && c + 1 == edges.n_centers)) {
          kernel.place(species, centers, count);
          evaluate(kernel, centers, count);
          count = 0;
        }
      }
    }
  });
}

template <typename Real>
void evaluate(const HouseParameters<Real> &p, const Edges &edges,
              double *energies, double *gradient) {
  typedef Lanes<Real> T;
  for_blocks<T>(p, edges, {},
                [&](Kernel<T> &kernel, const std::size_t *centers, int count) {
                  kernel.mean(gradient);
                  for (int lane = 0; lane < count; lane++)
                    energies[centers[lane]] = result(kernel.energy(), lane);
                });
}

template <typename Real>
void members(const HouseParameters<Real> &p, const Edges &edges,
             double *energies, std::size_t energy_step, double *gradient,
             std::size_t gradient_step) {
  typedef Lanes<Real> T;
  for_blocks<T>(
      p, edges, {},
      [&](Kernel<T> &kernel, const std::size_t *centers, int count) {
        kernel.members(
            [&](int m) {
              double *const own =
                  energies + static_cast<std::size_t>(m) * energy_step;
              for (int lane = 0; lane < count; lane++)
                own[centers[lane]] = result(kernel.energy(), lane);
            },
            [&](int m) {
              return gradient + static_cast<std::size_t>(m) * gradient_step;
            });
      });
}

template <typename Real>
void hvp(const HouseParameters<Real> &p, const Edges &edges,
         const double *directions, double *products) {
  typedef Dual<Lanes<Real>> T;
  for_blocks<T>(p, edges, {directions},
                [&](Kernel<T> &kernel, const std::size_t *, int) {
                  kernel.mean(products);
                });
}

void differentiate(const HouseParameters<double> &p, const Edges &edges,
                   const double *directions, double *energies,
                   std::size_t energy_step, double *gradient,
                   std::size_t gradient_step, double *products) {
  typedef Dual<Lanes<double>> T;
  for_blocks<T>(p, edges, {directions},
                [&](Kernel<T> &kernel, const std::size_t *centers, int count) {
                  kernel.members(
                      [&](int m) {
                        for (int lane = 0; energies && lane < count; lane++)
                          energies[static_cast<std::size_t>(m) * energy_step +
                                   centers[lane]] =
                              result(value_of(kernel.energy()), lane);
                      },
                      [&](int m) {
                        return products +
                               static_cast<std::size_t>(m) * gradient_step;
                      },
                      [&](int m) {
                        return gradient
                                   ? gradient + static_cast<std::size_t>(m) *
                                                    gradient_step
                                   : nullptr;
                      });
                });
}

void descriptors(const HouseParameters<double> &p, const Edges &edges,
                 double *descriptors) {
  typedef Lanes<double> T;
  const auto D = static_cast<std::size_t>(p.n_descriptors);
  for_blocks<T>(p, edges, {},
                [&](Kernel<T> &kernel, const std::size_t *centers, int count) {
                  const T *const found = kernel.descriptors();
                  for (int lane = 0; lane < count; lane++)
                    for (std::size_t i = 0; i < D; i++)
                      descriptors[centers[lane] * D + i] =
                          result(found[i], lane);
                });
}

/// hessians[i] (3 m, 3 m) of the m edges of own.centers[i]; no more centres
/// than there are lanes.
template <typename Real>
void hessians(const HouseParameters<Real> &p, const Edges &edges,
              SameCenters own, double *const *hessians) {
  typedef Jet<Lanes<Real>> T;
  thread_local Memory memory;
  memory.provide([&](Memory &memory) {
    Kernel<T> kernel(p, edges, {}, memory);
    auto *const pieces =
        memory.take<Lanes<Real>>(Kernel<T>::hessians_memory(p, edges));
    if (!memory.ready())
      return;
    std::size_t size[T::COUNT];
    for (std::size_t lane = 0; lane < own.count; lane++) {
      const std::size_t c = own.centers[lane];
      size[lane] = 3 * (edges.first_edge[c + 1] - edges.first_edge[c]);
      for (std::size_t i = 0; i < size[lane] * size[lane]; i++)
        hessians[lane][i] = 0.0;
    }
    kernel.place(own.species, own.centers, static_cast<int>(own.count));
    kernel.hessians(pieces, [&](int row, int column, const Lanes<Real> *block) {
      for (int lane = 0; lane < static_cast<int>(own.count); lane++) {
        const auto r = kernel.edge_at(row, lane, own.centers[lane]),
                   c = kernel.edge_at(column, lane, own.centers[lane]);
        if (r < 0 || c < 0)
          continue;
        const auto n = static_cast<std::ptrdiff_t>(size[lane]);
        double *const h = hessians[lane];
        for (int i = 0; i < 3; i++)
          for (int j = 0; j < (row == column ? i + 1 : 3); j++) {
            const auto value = static_cast<double>(block[3 * i + j].v[lane]);
            h[(3 * r + i) * n + 3 * c + j] += value;
            if (row != column || i != j)
              h[(3 * c + j) * n + 3 * r + i] += value;
          }
      }
    });
  });
}

/// seed_lane(seed, lane, slope of the centre's energy) for each centre.
template <typename T, typename SeedLane>
void add_to_weights(const HouseParameters<double> &p, const Edges &edges,
                    SameCenters own, int member, const double *slopes,
                    Beside beside, SeedLane seed_lane, double *sums) {
  thread_local Memory memory;
  const auto n = static_cast<std::size_t>(p.n_weights);
  memory.provide([&](Memory &pieces) {
    Kernel<T> kernel(p, edges, beside, pieces);
    auto *const lanes = pieces.take<Lanes<double>>(n);
    if (!pieces.ready())
      return;
    set_zero(lanes, p.n_weights);
    for (std::size_t done = 0; done < own.count; done += T::COUNT) {
      const std::size_t left = own.count - done;
      const int count = left < T::COUNT ? static_cast<int>(left) : T::COUNT;
      const std::size_t *const centers = own.centers + done;
      kernel.place(own.species, centers, count);
      T seed(0.0); // of lanes without a centre
      for (int lane = 0; lane < count; lane++)
        seed_lane(seed, lane, slopes ? slopes[centers[lane]] : 0.0);
      kernel.add_to_weights(member, seed, lanes);
    }
    for (std::size_t i = 0; i < n; i++) {
      double sum = 0.0;
      for (int lane = 0; lane < T::COUNT; lane++)
        sum += lanes[i].v[lane];
      sums[i] = sum;
    }
  });
}

/// With the vectors x + ε v + δ p + εδ g, where p and g are the slopes of the
/// products and of the gradient, the energies' part of εδ is pᵀHv + g·∇E, and
/// with the seed 1 + εδ a that of the product the whole sum.
void weights(const HouseParameters<double> &p, const Edges &edges,
             SameCenters own, int member, LossSlopes slopes, double *sums) {
  typedef Lanes<double> Value;
  if (slopes.directions)
    add_to_weights<Dual<Dual<Value>>>(
        p, edges, own, member, slopes.energies,
        {slopes.directions, slopes.products, slopes.gradient},
        [](auto &seed, int lane, double a) {
          put(seed, lane, 1.0, 0.0, 0.0, a);
        },
        sums);
  else if (slopes.gradient)
    add_to_weights<Dual<Value>>(
        p, edges, own, member, slopes.energies, {slopes.gradient},
        [](auto &seed, int lane, double a) { put(seed, lane, 1.0, a); }, sums);
  else
    add_to_weights<Value>(
        p, edges, own, member, slopes.energies, {},
        [](auto &seed, int lane, double a) { put(seed, lane, a); }, sums);
}

} // namespace

#define HESSPOT_NAME(name) #name
#define HESSPOT_NAME_OF(macro) HESSPOT_NAME(macro)

extern const HouseKernel house_kernel;
const HouseKernel house_kernel = {HESSPOT_NAME_OF(HESSPOT_INSTRUCTIONS),
                                  evaluate<double>,
                                  evaluate<float>,
                                  hvp<double>,
                                  hvp<float>,
                                  members<double>,
                                  members<float>,
                                  differentiate,
                                  descriptors,
                                  weights,
                                  Lanes<double>::COUNT,
                                  Lanes<float>::COUNT,
                                  hessians<double>,
                                  hessians<float>};

} // namespace HESSPOT_INSTRUCTIONS
} // namespace hesspot
