// SPDX-License-Identifier: GPL-2.0-or-later

#ifndef HESSPOT_HOUSE_H
#define HESSPOT_HOUSE_H

#include <hesspot/model.h>

namespace hesspot {

/// y = weight x + bias; weight (n_out, n_in), row by row.
struct Layer {
  std::vector<double> weight, bias;
};

/// The network of one element: hidden layers with SiLU, a readout and a linear part on the standardised descriptors.
struct Network {
  std::vector<Layer> hidden;
  Layer readout;
  std::vector<double> linear, mean, inverse_deviation;
};

/// Weights of a house model as the exported file holds them.
struct HouseWeights {
  int n_radial = 0, n_channels = 0;
  double scale = 1.0;
  std::vector<double> mix;  ///< (4 ranks, elements, elements · n_radial, n_channels)
  std::vector<double> shifts;
  std::vector<Network> networks;
};

/// The house model without torch: plain loops for the processor's own instructions. CPU only.
/// ModelError if the sizes of the weights do not fit together.
std::unique_ptr<Model> make_house(std::vector<std::string> elements, double cutoff, HouseWeights weights,
                                  Precision precision, const std::string &name);

}  // namespace hesspot

#endif
