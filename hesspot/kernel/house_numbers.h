// SPDX-License-Identifier: MIT
//
// Numbers and memory of the kernel, once per instruction set.

#ifndef HESSPOT_HOUSE_NUMBERS_H
#define HESSPOT_HOUSE_NUMBERS_H

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

/// Memory that is taken in pieces; T is Real, or Dual of it.
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

} // namespace
} // namespace HESSPOT_INSTRUCTIONS
} // namespace hesspot

#endif
