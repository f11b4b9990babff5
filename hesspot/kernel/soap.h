// SPDX-License-Identifier: MIT
//
// A step of the optimizer SOAP (hesspot/training/optimizer.py) of matrices on
// the CPU: what torch does in some thirty operations on each stack of them.

#ifndef HESSPOT_SOAP_H
#define HESSPOT_SOAP_H

#include <cstddef>

namespace hesspot {

/// A matrix of weights with the state of its optimizer. All arrays are by rows;
/// state is that of the matrix with its longer side as columns.
template <typename Real> struct SoapMatrix {
  std::size_t rows, columns, rank; ///< rows <= columns, rank <= columns
  bool transposed;                 ///< weights and gradient are (columns, rows)
  double *weights;
  const double *gradient;
  /// (rows, rows), each column a direction; null: mean and square are of the
  /// elements, and there is nothing else
  const Real *left;
  const Real *right;                 ///< (rank, columns), each row a direction
  Real *mean, *square;               ///< (rows, rank), in both bases
  Real *beyond_mean, *beyond_square; ///< (rows, columns), or null
  Real *left_square, *right_square;  ///< (rows, rows), (rank, columns)
};

struct SoapStep {
  double memory;            ///< decay of the means
  double memory_of_squares; ///< of left_square, right_square; 1: they stay
  double unbias;            ///< 1 - memory^steps
  double epsilon;           ///< added to root mean squares
  double rate, decay; ///< of the learning, and of the weights in this step
};

/// Of the matrices that are asked for one by one; `threads` of them at once, to
/// the same last bit.
template <typename Real>
void soap_step(const SoapMatrix<Real> *matrices, std::size_t count,
               const SoapStep &step, std::size_t threads);

} // namespace hesspot

#endif
