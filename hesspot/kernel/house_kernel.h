// SPDX-License-Identifier: MIT
//
// The house model, and committees of it, (docs/model.md) as plain loops:
// energy, gradient and Hessian products of as many centres at once as a
// register holds. The same source is compiled for each instruction set of
// CMakeLists.txt; house.cpp chooses one.

#ifndef HESSPOT_HOUSE_KERNEL_H
#define HESSPOT_HOUSE_KERNEL_H

#include "edges.h"

#include <cstddef>

namespace hesspot {

/// Raised with every change of a formula, so that no kernel evaluates weights
/// that were trained with another one.
constexpr int KERNEL_VERSION = 2;

/// Blocks of this version have no core.
constexpr int WITHOUT_CORE = 1;

/// Of the envelope (1 - (r/cutoff)^2)^p that is written into the kernel.
constexpr int ENVELOPE_POWER = 4;

/// Independent components of symmetric tensors of rank 0, 1, 2, 3 together.
constexpr int N_MONOMIALS = 20;

/// Vectors and matrices that each channel has; the products of all pairs of the
/// vectors, and of all pairs of the matrices, are descriptors.
constexpr int N_VECTORS = 3, N_MATRICES = 2;

constexpr int n_pairs(int n) { return n * (n + 1) / 2; }

/// What Kernel::invariants writes: moments of rank 0, products of vectors, of
/// matrices, and of moments of rank 3.
constexpr int n_descriptors_of(int n_channels) {
  return n_channels + n_pairs(N_VECTORS * n_channels) +
         n_pairs(N_MATRICES * n_channels) + n_pairs(n_channels);
}

/// Hidden layers that a network may have.
constexpr int MAX_HIDDEN_LAYERS = 8;

/// One layer, y = weight x + bias; weight (n_out, n_in).
template <typename Real> struct HouseLayer {
  int n_in, n_out;
  const Real *weight, *bias;
};

/// The network of one element, of one member.
template <typename Real> struct HouseNetwork {
  int n_hidden;                   ///< number of hidden layers
  const HouseLayer<Real> *hidden; ///< with SiLU
  HouseLayer<Real> readout;       ///< to one number
  const Real *linear;             ///< (n_descriptors) linear part
};

/// One description of the surroundings, and the networks that read it.
template <typename Real> struct HouseDescription {
  int n_members;
  Real scale;
  /// (n_elements of the centre, 4 ranks, n_elements of the neighbour, n_radial,
  /// n_channels)
  const Real *mix;
  const HouseNetwork<Real> *networks; ///< (n_members, n_elements)
  /// (n_elements, n_descriptors) standardisation
  const Real *mean, *inverse_deviation;
};

/// The core of a pair of elements (docs/model.md); all zero where there is
/// none.
template <typename Real> struct HouseCore {
  Real inner, outer; ///< radii of the switch, Angstrom
  Real strength;     ///< of the repulsion, eV Angstrom
  Real length;       ///< of its screening, Angstrom
};

/// All that the kernel reads; the arrays belong to the caller.
template <typename Real> struct HouseParameters {
  int n_descriptions, n_members; ///< n_members: of all descriptions
  int n_elements, n_radial, n_channels, n_descriptors, max_width;
  Real cutoff;
  const HouseDescription<Real> *descriptions;
  const HouseCore<Real> *cores; ///< (n_elements, n_elements)
  /// Weights that can be trained for one element of the centre, of one member,
  /// in the order of the sums over them: mix (4 ranks, elements of the
  /// neighbour, n_radial, n_channels), weight and bias of the layers, the
  /// readout's, and the linear part.
  int n_weights;
};

/// The functions of one instruction set. Energies are without the shifts of the
/// elements; those of a committee are the mean of its members'.
struct HouseKernel {
  const char *name;
  void (*evaluate_double)(const HouseParameters<double> &, const Edges &,
                          double *energies, double *gradient);
  void (*evaluate_single)(const HouseParameters<float> &, const Edges &,
                          double *energies, double *gradient);
  void (*hvp_double)(const HouseParameters<double> &, const Edges &,
                     const double *directions, double *products);
  void (*hvp_single)(const HouseParameters<float> &, const Edges &,
                     const double *directions, double *products);
  /// Of each member, whose energies and gradients begin `energy_step` and
  /// `gradient_step` after those of the one before.
  void (*members_double)(const HouseParameters<double> &, const Edges &,
                         double *energies, std::size_t energy_step,
                         double *gradient, std::size_t gradient_step);
  void (*members_single)(const HouseParameters<float> &, const Edges &,
                         double *energies, std::size_t energy_step,
                         double *gradient, std::size_t gradient_step);
  /// The same of each member with the Hessian products, whose steps are those
  /// of the gradient; energies and gradient may be null, together.
  void (*differentiate)(const HouseParameters<double> &, const Edges &,
                        const double *directions, double *energies,
                        std::size_t energy_step, double *gradient,
                        std::size_t gradient_step, double *products);
  /// Standardised descriptors (n_centers, n_descriptors) of the first
  /// description.
  void (*descriptors)(const HouseParameters<double> &, const Edges &,
                      double *descriptors);
  /// Sets `sums` to the derivatives of the sum with respect to the n_weights
  /// weights of one member and of the element of `own`.
  void (*weights)(const HouseParameters<double> &, const Edges &,
                  SameCenters own, int member, LossSlopes, double *sums);
  /// Centres that one call of the functions below takes at most.
  std::size_t lanes_double, lanes_single;
  /// Second derivatives of the energies of some centres of one element with
  /// respect to the vectors of their edges, whole and symmetric:
  /// hessians[i] (3 m, 3 m) of the m edges of centre i of `own`.
  void (*hessians_double)(const HouseParameters<double> &, const Edges &,
                          SameCenters own, double *const *hessians);
  void (*hessians_single)(const HouseParameters<float> &, const Edges &,
                          SameCenters own, double *const *hessians);
};

} // namespace hesspot

#endif
