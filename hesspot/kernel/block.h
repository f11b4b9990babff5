// SPDX-License-Identifier: MIT
//
// The packed weights of a house model, `hesspot.weights` in an exported file;
// docs/export.md has the layout.

#ifndef HESSPOT_BLOCK_H
#define HESSPOT_BLOCK_H

#include "house.h"

#include <string>
#include <string_view>
#include <vector>

namespace hesspot {

/// What the head of a block states.
struct HouseShape {
  int kernel_version = 0, envelope_power = 0;
  int n_descriptions = 0; ///< several: models of their own
  int n_members = 0;      ///< networks for each element of each description
  int n_radial = 0, n_channels = 0, n_descriptors = 0;
  std::vector<int> hidden; ///< widths of the hidden layers
  std::vector<std::string> elements;
  double cutoff = 0.0; ///< Angstrom

  bool operator==(const HouseShape &) const = default;
};

struct HouseBlock {
  HouseShape shape;
  HouseWeights weights;
};

/// A model of packed weights, whatever its architecture: their first eight
/// bytes tell. std::invalid_argument as below; std::runtime_error if
/// HESSPOT_INSTRUCTIONS names what the processor lacks.
std::unique_ptr<KernelModel> make_model(std::string_view block,
                                        bool single_precision);

/// std::invalid_argument, in words that follow "the packed weights", for a
/// block that is damaged or of another kernel version or envelope.
HouseBlock unpack(std::string_view block);

} // namespace hesspot

#endif
