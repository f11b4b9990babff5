// SPDX-License-Identifier: MIT
//
// The loops of soap.h for one matrix, of one instruction set.

#ifndef HESSPOT_SOAP_LOOPS_H
#define HESSPOT_SOAP_LOOPS_H

#include "soap.h"

#include <algorithm>
#include <cstddef>

namespace hesspot {

/// Numbers that `step_matrix` writes to beside the matrix.
template <typename Real> std::size_t soap_scratch(const SoapMatrix<Real> &own) {
  return 3 * own.rows * own.columns + 2 * own.rows * own.rank +
         std::max(own.rows * own.rows, own.rank * own.columns);
}

struct SoapLoops {
  void (*step_double)(const SoapMatrix<double> &, const SoapStep &,
                      double *scratch);
  void (*step_single)(const SoapMatrix<float> &, const SoapStep &,
                      float *scratch);
};

} // namespace hesspot

#endif
