// SPDX-License-Identifier: MIT
//
// Numbers and memory of the kernel, once per instruction set. Every number
// holds the values of several centres, one in each lane of a register. A lane
// never sees another: a centre's result does not depend on its companions.

#ifndef HESSPOT_HOUSE_NUMBERS_H
#define HESSPOT_HOUSE_NUMBERS_H

#include <cstdint>
#include <cstdlib>
#include <new>

namespace hesspot {
namespace HESSPOT_INSTRUCTIONS {
namespace {

#if defined(__AVX512F__)
constexpr int REGISTER = 64;
#elif defined(__AVX__)
constexpr int REGISTER = 32;
#else
constexpr int REGISTER = 16;
#endif

#if defined(__AVX512F__)
constexpr int N_REGISTERS = 32;
#else
constexpr int N_REGISTERS = 16;
#endif

template <typename Real> struct Format;
template <> struct Format<double> {
  typedef double Vector __attribute__((vector_size(REGISTER), may_alias));
  typedef std::uint64_t Integers
      __attribute__((vector_size(REGISTER), may_alias));
  static constexpr int MANTISSA = 52; ///< bits
  static constexpr double LARGEST_EXPONENT = 708.0;
};
template <> struct Format<float> {
  typedef float Vector __attribute__((vector_size(REGISTER), may_alias));
  typedef std::uint32_t Integers
      __attribute__((vector_size(REGISTER), may_alias));
  static constexpr int MANTISSA = 23;
  static constexpr float LARGEST_EXPONENT = 87.0F;
};

/// One Real of each centre.
template <typename Real> struct Lanes {
  typedef Real Scalar;
  typedef typename Format<Real>::Vector Vector;
  static constexpr int COUNT = REGISTER / sizeof(Real);
  Vector v;

  Lanes() = default;
  Lanes(Real value) : v(value - Vector{}) {}
  explicit Lanes(Vector vector) : v(vector) {}
  Lanes &operator+=(const Lanes &o) { return v += o.v, *this; }

  friend Lanes operator+(const Lanes &x, const Lanes &y) {
    return Lanes(x.v + y.v);
  }
  friend Lanes operator-(const Lanes &x, const Lanes &y) {
    return Lanes(x.v - y.v);
  }
  friend Lanes operator*(const Lanes &x, const Lanes &y) {
    return Lanes(x.v * y.v);
  }
  friend Lanes operator/(const Lanes &x, const Lanes &y) {
    return Lanes(x.v / y.v);
  }
};

/// a + b ε with ε² = 0: a function of it gives its value and its derivative
/// along one direction. A gradient computed with it gives the Hessian product.
/// With dual numbers as parts, a + b δ and so hyper-dual numbers (Fike, Alonso,
/// AIAA 2011-886): the part of εδ is a second derivative.
template <typename Part> struct Dual {
  typedef typename Part::Scalar Scalar;
  static constexpr int COUNT = Part::COUNT;
  Part a, b;

  Dual() = default;
  Dual(Scalar value) : a(value), b(Scalar(0)) {}
  Dual(const Part &value, const Part &derivative) : a(value), b(derivative) {}
  Dual &operator+=(const Dual &o) { return a += o.a, b += o.b, *this; }

  friend Dual operator+(const Dual &x, const Dual &y) {
    return {x.a + y.a, x.b + y.b};
  }
  friend Dual operator-(const Dual &x, const Dual &y) {
    return {x.a - y.a, x.b - y.b};
  }
  friend Dual operator*(const Dual &x, const Dual &y) {
    return {x.a * y.a, x.a * y.b + x.b * y.a};
  }
  friend Dual operator*(Scalar x, const Dual &y) { return {x * y.a, x * y.b}; }
  friend Dual operator/(const Dual &x, const Dual &y) {
    const Part quotient = x.a / y.a;
    return {quotient, (x.b - quotient * y.b) / y.a};
  }
};

/// a + b₁ ε₁ + b₂ ε₂ + b₃ ε₃ with εᵢ εⱼ = 0: a value and its derivatives along
/// three directions, which share the work on the value.
template <typename P> struct Jet {
  typedef P Part;
  typedef typename Part::Scalar Scalar;
  static constexpr int COUNT = Part::COUNT;
  Part a, b[3];

  Jet() = default;
  Jet(Scalar value) : a(value), b{Part(0), Part(0), Part(0)} {}
  /// A function's value, and the derivatives from its slope and those of x.
  Jet(const Part &value, const Part &slope, const Jet &x)
      : a(value), b{slope * x.b[0], slope * x.b[1], slope * x.b[2]} {}
  Jet &operator+=(const Jet &o) {
    a += o.a;
    for (int i = 0; i < 3; i++)
      b[i] += o.b[i];
    return *this;
  }

  friend Jet operator+(Jet x, const Jet &y) { return x += y; }
  friend Jet operator-(Jet x, const Jet &y) {
    x.a = x.a - y.a;
    for (int i = 0; i < 3; i++)
      x.b[i] = x.b[i] - y.b[i];
    return x;
  }
  friend Jet operator*(const Jet &x, const Jet &y) {
    Jet product;
    product.a = x.a * y.a;
    for (int i = 0; i < 3; i++)
      product.b[i] = x.a * y.b[i] + x.b[i] * y.a;
    return product;
  }
  friend Jet operator*(Scalar x, const Jet &y) { return {x * y.a, Part(x), y}; }
  friend Jet operator/(const Jet &x, const Jet &y) {
    Jet quotient;
    quotient.a = x.a / y.a;
    for (int i = 0; i < 3; i++)
      quotient.b[i] = (x.b[i] - quotient.a * y.b[i]) / y.a;
    return quotient;
  }
};

/// Registers that a number takes, and how many numbers can be summed at once in
/// what there is of them, beside one more number and a weight.
template <typename T>
constexpr int PARTS = sizeof(T) / sizeof(Lanes<typename T::Scalar>);
template <typename T>
constexpr int SUMS_AT_ONCE = (N_REGISTERS - 1 - PARTS<T>) / PARTS<T>;

/// The parts of one centre: 1, then ε, then δ and εδ.
template <typename Real>
inline void put(Lanes<Real> &x, int lane, double value, double = 0.0,
                double = 0.0, double = 0.0) {
  x.v[lane] = static_cast<Real>(value);
}
template <typename Part>
inline void put(Dual<Part> &x, int lane, double value, double first,
                double second = 0.0, double both = 0.0) {
  if constexpr (sizeof(Part) == sizeof(Lanes<typename Part::Scalar>)) {
    put(x.a, lane, value);
    put(x.b, lane, first);
  } else {
    put(x.a, lane, value, first);
    put(x.b, lane, second, both);
  }
}

/// Without derivatives.
template <typename Part>
inline void put(Jet<Part> &x, int lane, double value, double = 0.0,
                double = 0.0, double = 0.0) {
  put(x.a, lane, value);
  for (int i = 0; i < 3; i++)
    put(x.b[i], lane, 0.0);
}

/// The part of 1.
template <typename Real>
inline const Lanes<Real> &value_of(const Lanes<Real> &x) {
  return x;
}
template <typename Part> inline const auto &value_of(const Dual<Part> &x) {
  return value_of(x.a);
}

template <typename Part> inline const Part &value_of(const Jet<Part> &x) {
  return x.a;
}

/// The last part of a product.
template <typename Real>
inline Lanes<Real> last_of_product(const Lanes<Real> &x, const Lanes<Real> &y) {
  return x * y;
}
template <typename Part>
inline auto last_of_product(const Dual<Part> &x, const Dual<Part> &y) {
  return last_of_product(x.a, y.b) + last_of_product(x.b, y.a);
}

/// What is asked for of one centre: the value, of dual numbers the derivative.
template <typename Real> inline double result(const Lanes<Real> &x, int lane) {
  return static_cast<double>(x.v[lane]);
}
template <typename Part> inline double result(const Dual<Part> &x, int lane) {
  return result(x.b, lane);
}

/// e^x = 2ⁿ e^f with |f| ≤ ½ ln 2, by its Taylor series; no larger or smaller
/// than what can be represented.
template <typename Real>
inline Lanes<Real> exponential(const Lanes<Real> &argument) {
  typedef typename Lanes<Real>::Vector Vector;
  typedef typename Format<Real>::Integers Integers;
  constexpr int MANTISSA = Format<Real>::MANTISSA;
  constexpr Real END = Format<Real>::LARGEST_EXPONENT;
  // Added to a number, it rounds it to an integer, which then stands in the
  // lowest bits.
  constexpr Real ROUND = Real(1.5) * Real(std::int64_t(1) << MANTISSA);
  // ln 2 = HIGH + LOW; n · HIGH is exact.
  constexpr Real HIGH = Real(0.693145751953125),
                 LOW = Real(1.42860682030941723e-6);
  Vector x = argument.v;
  x = x > END ? Lanes<Real>(END).v : x;
  x = x < -END ? Lanes<Real>(-END).v : x;
  const Vector shifted = x * Real(1.4426950408889634074) + ROUND;
  const Vector n = shifted - ROUND;
  const Vector f = (x - n * HIGH) - n * LOW;
  Vector series = Lanes<Real>(Real(1.0 / 6227020800.0)).v; // 1/13!
  constexpr double INVERSE_FACTORIAL[13] = {1.0,
                                            1.0,
                                            1.0 / 2,
                                            1.0 / 6,
                                            1.0 / 24,
                                            1.0 / 120,
                                            1.0 / 720,
                                            1.0 / 5040,
                                            1.0 / 40320,
                                            1.0 / 362880,
                                            1.0 / 3628800,
                                            1.0 / 39916800,
                                            1.0 / 479001600};
  for (int i = 12; i >= 0; i--)
    series = series * f + Real(INVERSE_FACTORIAL[i]);
  const Vector scaled =
      (Vector)((Integers)series + ((Integers)shifted << MANTISSA));
  return Lanes<Real>(x == x ? scaled : x);
}

template <typename Part> inline Dual<Part> exponential(const Dual<Part> &x) {
  const Part value = exponential(x.a);
  return {value, value * x.b};
}

template <typename Part> inline Jet<Part> exponential(const Jet<Part> &x) {
  const Part value = exponential(x.a);
  return {value, value, x};
}

/// 1 / (1 + e^-x). Its derivative is taken from its value: e^-x may be near the
/// largest number.
template <typename Real> inline Lanes<Real> logistic(const Lanes<Real> &x) {
  const Lanes<Real> one = Real(1);
  return one / (one + exponential(Lanes<Real>(-x.v)));
}
template <typename Part> inline Dual<Part> logistic(const Dual<Part> &x) {
  const Part value = logistic(x.a);
  return {value, value * (Part(typename Part::Scalar(1)) - value) * x.b};
}

template <typename Part> inline Jet<Part> logistic(const Jet<Part> &x) {
  const Part value = logistic(x.a);
  return {value, value * (Part(typename Part::Scalar(1)) - value), x};
}

template <typename Real> inline Lanes<Real> square_root(const Lanes<Real> &x) {
  Lanes<Real> root;
  for (int lane = 0; lane < Lanes<Real>::COUNT; lane++)
    root.v[lane] = sizeof(Real) == sizeof(double)
                       ? static_cast<Real>(__builtin_sqrt(x.v[lane]))
                       : static_cast<Real>(__builtin_sqrtf(x.v[lane]));
  return root;
}
template <typename Part> inline Dual<Part> square_root(const Dual<Part> &x) {
  const Part value = square_root(x.a);
  return {value, x.b / (typename Part::Scalar(2) * value)};
}

template <typename Part> inline Jet<Part> square_root(const Jet<Part> &x) {
  typedef typename Part::Scalar Real;
  const Part value = square_root(x.a);
  return {value, Part(Real(1)) / (Real(2) * value), x};
}

/// sin πt for |t| ≤ ½, by its Taylor series.
template <typename Real> inline Lanes<Real> sine_of_pi(const Lanes<Real> &t) {
  // (−1)ⁱ π²ⁱ⁺¹ / (2i + 1)!
  constexpr double TERM[11] = {
      3.14159265358979323846,    -5.16771278004997002925,
      2.55016403987734548547,    -0.599264529320792076888,
      0.0821458866111282287989,  -0.00737043094571435077726,
      4.66302805767612564421e-4, -2.19153534478302158273e-5,
      7.95205400147551278479e-7, -2.29484289972869731102e-8,
      5.39266466260812848935e-10};
  const Lanes<Real> square = t * t;
  Lanes<Real> series = Real(TERM[10]);
  for (int i = 9; i >= 0; i--)
    series = series * square + Lanes<Real>(Real(TERM[i]));
  return series * t;
}

/// sin πx and cos πx for 0 ≤ x ≤ 1.
template <typename Real>
inline void sine_cosine_of_pi(const Lanes<Real> &x, Lanes<Real> &sine,
                              Lanes<Real> &cosine) {
  const Lanes<Real> half = Real(0.5), rest = Lanes<Real>(Real(1)) - x;
  cosine = sine_of_pi(half - x);
  sine = sine_of_pi(Lanes<Real>(x.v > half.v ? rest.v : x.v));
}
template <typename Part>
inline void sine_cosine_of_pi(const Dual<Part> &x, Dual<Part> &sine,
                              Dual<Part> &cosine) {
  typedef typename Part::Scalar Real;
  const Part slope = Real(3.14159265358979323846) * x.b;
  sine_cosine_of_pi(x.a, sine.a, cosine.a);
  sine.b = slope * cosine.a;
  cosine.b = Real(-1) * slope * sine.a;
}

template <typename Part>
inline void sine_cosine_of_pi(const Jet<Part> &x, Jet<Part> &sine,
                              Jet<Part> &cosine) {
  typedef typename Part::Scalar Real;
  const Real pi(3.14159265358979323846);
  Part s, c;
  sine_cosine_of_pi(x.a, s, c);
  sine = {s, pi * c, x};
  cosine = {c, -pi * s, x};
}

/// x where `value` is no larger than `bound`, else zero.
template <typename Real>
inline Lanes<Real> where_at_most(const Lanes<Real> &x, const Lanes<Real> &value,
                                 Real bound) {
  const Lanes<Real> zero = Real(0);
  return Lanes<Real>(value.v > bound ? zero.v : x.v);
}
template <typename Part, typename Real>
inline Dual<Part> where_at_most(const Dual<Part> &x, const Lanes<Real> &value,
                                Real bound) {
  return {where_at_most(x.a, value, bound), where_at_most(x.b, value, bound)};
}

/// The smaller one.
template <typename Real>
inline Lanes<Real> at_most(const Lanes<Real> &x, Real bound) {
  return Lanes<Real>(x.v > bound ? Lanes<Real>(bound).v : x.v);
}
template <typename Part>
inline Dual<Part> at_most(const Dual<Part> &x, typename Part::Scalar bound) {
  return {at_most(x.a, bound), where_at_most(x.b, value_of(x), bound)};
}

template <typename Part>
inline Jet<Part> at_most(const Jet<Part> &x, typename Part::Scalar bound) {
  Jet<Part> smaller;
  smaller.a = at_most(x.a, bound);
  for (int i = 0; i < 3; i++)
    smaller.b[i] = where_at_most(x.b[i], x.a, bound);
  return smaller;
}

/// The larger one.
template <typename T> inline T at_least(const T &x, typename T::Scalar bound) {
  return T(0) - at_most(T(0) - x, -bound);
}

/// Whether any is below the bound.
template <typename Real>
inline bool any_below(const Lanes<Real> &x, Real bound) {
  bool any = false;
  for (int lane = 0; lane < Lanes<Real>::COUNT; lane++)
    any |= x.v[lane] < bound;
  return any;
}

/// Memory of a thread, kept for its next call and taken in pieces. A first
/// round without any memory tells how much there must be.
class Memory {
public:
  Memory() = default;
  ~Memory() { std::free(data_); }
  Memory(const Memory &) = delete;
  Memory &operator=(const Memory &) = delete;

  /// Calls arrange(*this) twice; the pieces that it takes the second time can
  /// be used.
  template <typename Arrange> void provide(Arrange arrange) {
    char *const kept = data_;
    data_ = nullptr;
    used_ = 0;
    arrange(*this);
    data_ = kept;
    if (used_ > size_) {
      std::free(data_);
      size_ = 0;
      data_ = static_cast<char *>(std::aligned_alloc(ALIGNMENT, used_));
      if (!data_)
        throw std::bad_alloc();
      size_ = used_;
    }
    used_ = 0;
    arrange(*this);
  }

  template <typename T> T *take(std::size_t count) {
    T *const piece = data_ ? reinterpret_cast<T *>(data_ + used_) : nullptr;
    used_ += (count * sizeof(T) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return piece;
  }

  bool ready() const { return data_ != nullptr; }

private:
  static constexpr std::size_t ALIGNMENT = 64;
  char *data_ = nullptr;
  std::size_t size_ = 0, used_ = 0;
};

template <typename T> inline void set_zero(T *values, int n) {
  for (int i = 0; i < n; i++)
    values[i] = T(0);
}

} // namespace
} // namespace HESSPOT_INSTRUCTIONS
} // namespace hesspot

#endif
