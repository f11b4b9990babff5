// SPDX-License-Identifier: MIT
//
// Compiled once per instruction set, with HESSPOT_INSTRUCTIONS as its name. No
// function of the standard library that could be compiled without inlining is
// called, so that no other part of a program gets one with these instructions.

#include "soap_loops.h"

#include <cstddef>

namespace hesspot {
namespace HESSPOT_INSTRUCTIONS {
namespace {

#if defined(__AVX512F__)
constexpr std::size_t REGISTER = 64;
#elif defined(__AVX2__)
constexpr std::size_t REGISTER = 32;
#else
constexpr std::size_t REGISTER = 16;
#endif

/// As many numbers as a register holds, wherever they lie.
template <typename Real> struct Vector {
  typedef Real Type
      __attribute__((vector_size(REGISTER), aligned(sizeof(Real)), may_alias));
  static constexpr std::size_t SIZE = REGISTER / sizeof(Real);
};
template <typename Real> using VectorOf = typename Vector<Real>::Type;

template <typename Real> VectorOf<Real> load(const Real *from) {
  return *reinterpret_cast<const VectorOf<Real> *>(from);
}

/// Rows of a product that are made together.
constexpr std::size_t ROWS = 4;

template <typename Real> Real root(Real x) {
  if constexpr (sizeof(Real) == sizeof(float))
    return __builtin_sqrtf(x);
  else
    return __builtin_sqrt(x);
}

/// c += factor a b for R rows and as many columns as W registers hold;
/// a(i, k) is a[i * row + k * step], b and c have rows of n.
template <std::size_t R, std::size_t W, typename Real>
void tile(const Real *a, std::size_t row, std::size_t step, const Real *b,
          std::size_t depth, std::size_t n, Real factor, Real *c) {
  constexpr std::size_t SIZE = Vector<Real>::SIZE;
  VectorOf<Real> sum[R][W] = {};
  for (std::size_t k = 0; k < depth; k++) {
    VectorOf<Real> other[W];
    for (std::size_t j = 0; j < W; j++)
      other[j] = load(b + k * n + j * SIZE);
    for (std::size_t i = 0; i < R; i++)
      for (std::size_t j = 0; j < W; j++)
        sum[i][j] += a[i * row + k * step] * other[j];
  }
  for (std::size_t i = 0; i < R; i++)
    for (std::size_t j = 0; j < W; j++) {
      Real *const to = c + i * n + j * SIZE;
      *reinterpret_cast<VectorOf<Real> *>(to) = load(to) + factor * sum[i][j];
    }
}

template <std::size_t R, typename Real>
void rows_of_product(const Real *a, std::size_t row, std::size_t step,
                     const Real *b, std::size_t depth, std::size_t n,
                     Real factor, Real *c) {
  constexpr std::size_t SIZE = Vector<Real>::SIZE;
  std::size_t j = 0;
  for (; j + 2 * SIZE <= n; j += 2 * SIZE)
    tile<R, 2>(a, row, step, b + j, depth, n, factor, c + j);
  for (; j + SIZE <= n; j += SIZE)
    tile<R, 1>(a, row, step, b + j, depth, n, factor, c + j);
  for (; j < n; j++)
    for (std::size_t i = 0; i < R; i++) {
      Real sum = 0;
      for (std::size_t k = 0; k < depth; k++)
        sum += a[i * row + k * step] * b[k * n + j];
      c[i * n + j] += factor * sum;
    }
}

/// c (m, n) += factor a b, where a(i, k) is a[i * row + k * step] and b is
/// (depth, n).
template <typename Real>
void add_product(const Real *a, std::size_t row, std::size_t step,
                 const Real *b, std::size_t m, std::size_t depth, std::size_t n,
                 Real factor, Real *c) {
  std::size_t i = 0;
  for (; i + ROWS <= m; i += ROWS)
    rows_of_product<ROWS>(a + i * row, row, step, b, depth, n, factor,
                          c + i * n);
  for (; i < m; i++)
    rows_of_product<1>(a + i * row, row, step, b, depth, n, factor, c + i * n);
}

/// Products of R rows of a with W rows of b, all of length n: c has rows of m.
template <std::size_t R, std::size_t W, typename Real>
void rows_with_rows(const Real *a, const Real *b, std::size_t m, std::size_t n,
                    Real *c) {
  constexpr std::size_t SIZE = Vector<Real>::SIZE;
  VectorOf<Real> sum[R][W] = {};
  std::size_t j = 0;
  for (; j + SIZE <= n; j += SIZE) {
    VectorOf<Real> other[W];
    for (std::size_t k = 0; k < W; k++)
      other[k] = load(b + k * n + j);
    for (std::size_t i = 0; i < R; i++) {
      const VectorOf<Real> own = load(a + i * n + j);
      for (std::size_t k = 0; k < W; k++)
        sum[i][k] += own * other[k];
    }
  }
  for (std::size_t i = 0; i < R; i++)
    for (std::size_t k = 0; k < W; k++) {
      Real total = 0;
      for (std::size_t l = 0; l < SIZE; l++)
        total += sum[i][k][l];
      for (std::size_t l = j; l < n; l++)
        total += a[i * n + l] * b[k * n + l];
      c[i * m + k] = total;
    }
}

template <std::size_t R, typename Real>
void rows_with_all(const Real *a, const Real *b, std::size_t m, std::size_t n,
                   Real *c) {
  std::size_t k = 0;
  for (; k + 2 <= m; k += 2)
    rows_with_rows<R, 2>(a, b + k * n, m, n, c + k);
  for (; k < m; k++)
    rows_with_rows<R, 1>(a, b + k * n, m, n, c + k);
}

/// c (m, k) = a bᵀ for a (m, n) and b (k, n).
template <typename Real>
void products_of_rows(const Real *a, const Real *b, std::size_t m,
                      std::size_t k, std::size_t n, Real *c) {
  std::size_t i = 0;
  for (; i + ROWS <= m; i += ROWS)
    rows_with_all<ROWS>(a + i * n, b, k, n, c + i * k);
  for (; i < m; i++)
    rows_with_all<1>(a + i * n, b, k, n, c + i * k);
}

template <typename Real>
void approach(Real *mean, const Real *values, std::size_t n, Real part) {
  for (std::size_t i = 0; i < n; i++)
    mean[i] += part * (values[i] - mean[i]);
}

/// Adam's step of rate one into `move`; floor: added to root mean squares.
template <typename Real>
void adam(Real *mean, Real *square, const Real *gradient, std::size_t n,
          Real part, Real unbias, Real floor, Real *move) {
  for (std::size_t i = 0; i < n; i++) {
    const Real g = gradient[i];
    mean[i] += part * (g - mean[i]);
    square[i] += part * (g * g - square[i]);
    move[i] = mean[i] / (unbias * (root(square[i] / unbias) + floor));
  }
}

template <typename Real> void set_zero(Real *values, std::size_t n) {
  for (std::size_t i = 0; i < n; i++)
    values[i] = 0;
}

template <typename Real> constexpr Real EPSILON_OF = 0;
template <> constexpr float EPSILON_OF<float> = __FLT_EPSILON__;
template <> constexpr double EPSILON_OF<double> = __DBL_EPSILON__;

template <typename Real>
void step_matrix(const SoapMatrix<Real> &own, const SoapStep &step,
                 Real *scratch) {
  const std::size_t r = own.rows, c = own.columns, k = own.rank, n = r * c;
  Real *const gradient = scratch, *const turned = gradient + n,
              *const move = turned + n, *const inside = move + n,
              *const inside_move = inside + r * k,
              *const square = inside_move + r * k;
  const Real part = static_cast<Real>(1.0 - step.memory),
             unbias = static_cast<Real>(step.unbias);
  for (std::size_t i = 0; i < r; i++)
    for (std::size_t j = 0; j < c; j++)
      gradient[i * c + j] = static_cast<Real>(
          own.gradient[own.transposed ? j * r + i : i * c + j]);

  const auto step_weights = [&](const Real *by) {
    for (std::size_t i = 0; i < r; i++)
      for (std::size_t j = 0; j < c; j++) {
        double &weight = own.weights[own.transposed ? j * r + i : i * c + j];
        weight = weight * (1.0 - step.decay) -
                 step.rate * static_cast<double>(by[i * c + j]);
      }
  };
  if (!own.left) {
    adam(own.mean, own.square, gradient, n, part, unbias,
         static_cast<Real>(step.epsilon), move);
    return step_weights(move);
  }

  set_zero(turned, n);
  add_product<Real>(own.left, 1, r, gradient, r, r, c, 1, turned);
  products_of_rows(turned, own.right, r, k, c, inside);

  Real largest = 0;
  for (std::size_t i = 0; i < r * k; i++) {
    const Real next =
        own.square[i] + part * (inside[i] * inside[i] - own.square[i]);
    largest = next > largest ? next : largest;
  }
  const Real floor = 8 * EPSILON_OF<Real> * root(largest / unbias) +
                     static_cast<Real>(step.epsilon);
  adam(own.mean, own.square, inside, r * k, part, unbias, floor, inside_move);

  set_zero(move, n);
  if (own.beyond_mean) {
    Real *const beyond = gradient; // which is not needed any more
    for (std::size_t i = 0; i < n; i++)
      beyond[i] = turned[i];
    add_product<Real>(inside, k, 1, own.right, r, k, c, -1, beyond);
    adam(own.beyond_mean, own.beyond_square, beyond, n, part, unbias, floor,
         move);
  }
  add_product<Real>(inside_move, k, 1, own.right, r, k, c, 1, move);

  if (step.memory_of_squares < 1.0) {
    const Real part_of_squares =
        static_cast<Real>(1.0 - step.memory_of_squares);
    products_of_rows(turned, turned, r, r, c, square);
    approach(own.left_square, square, r * r, part_of_squares);
    set_zero(square, k * c);
    add_product<Real>(inside, 1, k, turned, k, r, c, 1, square);
    approach(own.right_square, square, k * c, part_of_squares);
  }

  Real *const back = turned;
  set_zero(back, n);
  add_product<Real>(own.left, r, 1, move, r, r, c, 1, back);
  step_weights(back);
}

} // namespace

extern const SoapLoops soap_loops;
const SoapLoops soap_loops = {step_matrix<double>, step_matrix<float>};

} // namespace HESSPOT_INSTRUCTIONS
} // namespace hesspot
