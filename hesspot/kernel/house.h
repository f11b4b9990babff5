// SPDX-License-Identifier: MIT
//
// A house model, or a committee of them, without torch: its weights as the
// exported file holds them, and its evaluation by the kernel.

#ifndef HESSPOT_HOUSE_H
#define HESSPOT_HOUSE_H

#include "house_kernel.h"
#include "team.h"

#include <memory>
#include <vector>

namespace hesspot {

/// y = weight x + bias; weight (n_out, n_in), row by row.
struct Layer {
  std::vector<double> weight, bias;
};

/// The network of one element: hidden layers with SiLU, a readout and a linear
/// part on the standardised descriptors.
struct Network {
  std::vector<Layer> hidden;
  Layer readout;
  std::vector<double> linear;
};

/// One description of the surroundings, and the networks that read it.
struct Description {
  double scale = 1.0;
  std::vector<double>
      mix; ///< (4 ranks, elements, elements · n_radial, n_channels)
  std::vector<double> shifts; ///< (elements) eV
  std::vector<double> mean,
      inverse_deviation;         ///< (elements, descriptors) standardisation
  std::vector<Network> networks; ///< (members, elements)
};

struct HouseWeights {
  int n_elements = 0, n_radial = 0, n_channels = 0;
  double cutoff = 0.0;
  std::vector<Description> descriptions; ///< several: models of their own
};

/// Names of the instruction sets that this processor has, the best one first,
/// separated by spaces.
const char *instruction_sets();

/// Energies are summed in double; everything else is computed in double, or in
/// single precision.
class House {
public:
  /// std::invalid_argument if the sizes of the weights do not fit together;
  /// std::runtime_error if HESSPOT_INSTRUCTIONS names what the processor lacks.
  House(const HouseWeights &weights, bool single_precision);
  ~House();

  /// Networks for each element in all; 1 if the model is no committee.
  int n_members() const { return n_members_; }

  /// Name of the instruction set that is used.
  const char *instructions() const;

  /// Threads that share the centres, to the same last bit; 1 at first. Not
  /// while something is evaluated.
  void set_threads(std::size_t threads);

  /// All evaluations: std::invalid_argument for a species that is no element,
  /// and for first_edge that does not rise from 0.

  /// Energies (n_centers) eV, shifts included, and gradient (3 n_edges)
  /// eV/Angstrom; of a committee, the means.
  void evaluate(const HouseEdges &edges, double *energies,
                double *gradient) const;

  /// Products (3 n_edges) of each centre's Hessian with the directions (3
  /// n_edges) of its edges.
  void hvp(const HouseEdges &edges, const double *directions,
           double *products) const;

  /// The same of each member: energies (n_members, n_centers), gradient
  /// (n_members, 3 n_edges).
  void members(const HouseEdges &edges, double *energies,
               double *gradient) const;

private:
  template <typename Real> class Parameters;
  template <typename Work> void share(const HouseEdges &edges, Work work) const;
  const HouseKernel &kernel_;
  int n_members_;
  std::unique_ptr<Team> team_;
  std::vector<double> mean_shifts_;   // (elements)
  std::vector<double> member_shifts_; // (members, elements)
  std::unique_ptr<Parameters<double>> double_;
  std::unique_ptr<Parameters<float>> single_;
};

} // namespace hesspot

#endif
