// SPDX-License-Identifier: MIT
//
// A house model, or a committee of them, without torch: its weights as the
// exported file holds them, and its evaluation by the kernel.

#ifndef HESSPOT_HOUSE_H
#define HESSPOT_HOUSE_H

#include "house_kernel.h"
#include "kernel_model.h"

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
  std::vector<HouseCore<double>> cores;  ///< (elements, elements)
  std::vector<Description> descriptions; ///< several: models of their own
};

/// Energies are summed in double; everything else is computed in double, or in
/// single precision.
class House : public KernelModel {
public:
  /// std::invalid_argument if the sizes of the weights do not fit together;
  /// std::runtime_error if HESSPOT_INSTRUCTIONS names what the processor lacks.
  House(const HouseWeights &weights, bool single_precision);
  ~House() override;

  int n_weights() const override;
  int n_descriptors() const override;

private:
  template <typename Real> class Parameters;

  void evaluate_part(const Edges &edges, double *energies,
                     double *gradient) const override;
  void hvp_part(const Edges &edges, const double *directions,
                double *products) const override;
  void members_part(const Edges &edges, double *energies,
                    std::size_t energy_step, double *gradient,
                    std::size_t gradient_step) const override;
  void differentiate_part(const Edges &edges, const double *directions,
                          double *energies, std::size_t energy_step,
                          double *gradient, std::size_t gradient_step,
                          double *products) const override;
  void descriptors_part(const Edges &edges, double *descriptors) const override;
  std::size_t hessians_at_once() const override;
  void hessians_part(const Edges &edges, SameCenters own,
                     double *const *hessians) const override;
  void assign(const double *weights) override;
  void weights_part(const Edges &edges, SameCenters own, int member,
                    LossSlopes slopes, double *sums) const override;

  const HouseKernel &kernel_;
  std::vector<double> mean_shifts_;   // (elements)
  std::vector<double> member_shifts_; // (members, elements)
  std::unique_ptr<Parameters<double>> double_;
  std::unique_ptr<Parameters<float>> single_;
};

} // namespace hesspot

#endif
