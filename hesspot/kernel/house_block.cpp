// SPDX-License-Identifier: MIT

#include "block.h"
#include "house.h"

namespace hesspot {
namespace {

/// What the head of a block states after the version.
struct Shape {
  int envelope_power, n_descriptions, n_members, n_radial, n_channels,
      n_descriptors;
  std::vector<int> hidden; ///< widths of the hidden layers
  std::vector<std::string> elements;
  double cutoff; ///< Angstrom
};

Shape head(BlockReader &reader) {
  Shape shape;
  shape.envelope_power = reader.count("envelope power");
  shape.n_descriptions = reader.count("number of descriptions");
  shape.n_members = reader.count("number of members");
  const int n_elements = reader.count("number of elements");
  shape.n_radial = reader.count("number of radial functions");
  shape.n_channels = reader.count("number of channels");
  shape.n_descriptors = reader.count("number of descriptors");
  const int n_hidden = reader.count("number of hidden layers");
  for (int l = 0; l < n_hidden; l++)
    shape.hidden.push_back(reader.count("width of a layer"));
  shape.elements = reader.elements(n_elements);
  shape.cutoff = reader.cutoff();
  return shape;
}

std::string shape_as_json(BlockReader reader) {
  const Shape shape = head(reader);
  JsonEntries entries;
  entries.add("kernel_version", KERNEL_VERSION);
  entries.add("envelope_power", shape.envelope_power);
  entries.add("n_descriptions", shape.n_descriptions);
  entries.add("n_members", shape.n_members);
  entries.add("n_radial", shape.n_radial);
  entries.add("n_channels", shape.n_channels);
  entries.add("n_descriptors", shape.n_descriptors);
  entries.add("hidden", shape.hidden);
  entries.add("elements", shape.elements);
  entries.add("cutoff", shape.cutoff);
  return entries.object();
}

Network network(BlockReader &reader, const Shape &shape) {
  Network network;
  const auto n_descriptors = static_cast<std::size_t>(shape.n_descriptors);
  std::size_t width = n_descriptors;
  for (const int next : shape.hidden) {
    const auto n_out = static_cast<std::size_t>(next);
    Layer layer;
    layer.weight = reader.numbers(width * n_out);
    layer.bias = reader.numbers(n_out);
    network.hidden.push_back(std::move(layer));
    width = n_out;
  }
  network.readout.weight = reader.numbers(width);
  network.readout.bias = reader.numbers(1);
  network.linear = reader.numbers(n_descriptors);
  return network;
}

std::unique_ptr<KernelModel> make(BlockReader reader, bool single_precision) {
  const Shape shape = head(reader);
  if (shape.envelope_power != ENVELOPE_POWER)
    throw NoKernel(
        "are for an envelope of power " + std::to_string(shape.envelope_power) +
        ", and the kernel has power " + std::to_string(ENVELOPE_POWER));
  const std::size_t S = shape.elements.size(),
                    K = static_cast<std::size_t>(shape.n_radial),
                    C = static_cast<std::size_t>(shape.n_channels),
                    D = static_cast<std::size_t>(shape.n_descriptors);
  HouseWeights weights;
  weights.n_elements = static_cast<int>(S);
  weights.n_radial = shape.n_radial;
  weights.n_channels = shape.n_channels;
  weights.cutoff = shape.cutoff;
  for (int i = 0; i < shape.n_descriptions; i++) {
    Description description;
    description.scale = reader.number();
    description.mix = reader.numbers(4 * S * S * K * C);
    description.shifts = reader.numbers(S);
    description.mean = reader.numbers(S * D);
    description.inverse_deviation = reader.numbers(S * D);
    for (std::size_t n = 0; n < static_cast<std::size_t>(shape.n_members) * S;
         n++)
      description.networks.push_back(network(reader, shape));
    weights.descriptions.push_back(std::move(description));
  }
  reader.end();
  return std::make_unique<House>(weights, single_precision);
}

} // namespace

namespace architectures {
extern const Architecture house;
const Architecture house = {"hesspotw", KERNEL_VERSION, shape_as_json, make};
} // namespace architectures

} // namespace hesspot
