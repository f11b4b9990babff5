// SPDX-License-Identifier: MIT

#include "block.h"
#include "house.h"

#include <cmath>

namespace hesspot {
namespace {

/// What the head of a block states after the version.
struct Shape {
  int version, envelope_power, n_descriptions, n_members, n_radial, n_channels,
      n_descriptors;
  std::vector<int> hidden; ///< widths of the hidden layers
  std::vector<std::string> elements;
  double cutoff;                        ///< Angstrom
  std::vector<HouseCore<double>> cores; ///< (elements, elements)
};

std::vector<HouseCore<double>> cores(BlockReader &reader, const Shape &shape) {
  const std::size_t n = shape.elements.size() * shape.elements.size();
  std::vector<HouseCore<double>> found(n);
  if (shape.version <= WITHOUT_CORE)
    return found;
  const auto inner = reader.numbers(n), outer = reader.numbers(n),
             strength = reader.numbers(n), length = reader.numbers(n);
  for (std::size_t i = 0; i < n; i++) {
    const bool none = inner[i] == 0.0 && outer[i] == 0.0;
    if (!none && !(0.0 < inner[i] && inner[i] < outer[i] &&
                   outer[i] <= shape.cutoff && std::isfinite(strength[i]) &&
                   0.0 < length[i] && std::isfinite(length[i])))
      throw std::invalid_argument("state a core that cannot be");
    found[i] = {inner[i], outer[i], strength[i], length[i]};
  }
  return found;
}

Shape head(BlockReader &reader, int version) {
  Shape shape;
  shape.version = version;
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
  shape.cores = cores(reader, shape);
  return shape;
}

std::string shape_as_json(BlockReader reader, int version) {
  const Shape shape = head(reader, version);
  JsonEntries entries;
  entries.add("kernel_version", shape.version);
  entries.add("envelope_power", shape.envelope_power);
  entries.add("n_descriptions", shape.n_descriptions);
  entries.add("n_members", shape.n_members);
  entries.add("n_radial", shape.n_radial);
  entries.add("n_channels", shape.n_channels);
  entries.add("n_descriptors", shape.n_descriptors);
  entries.add("hidden", shape.hidden);
  entries.add("elements", shape.elements);
  entries.add("cutoff", shape.cutoff);
  if (version > WITHOUT_CORE) {
    std::vector<double> inner, outer;
    for (const auto &core : shape.cores) {
      inner.push_back(core.inner);
      outer.push_back(core.outer);
    }
    entries.add("core_inner", inner);
    entries.add("core_outer", outer);
  }
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

std::unique_ptr<KernelModel> make(BlockReader reader, int version,
                                  bool single_precision) {
  const Shape shape = head(reader, version);
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
  weights.cores = shape.cores;
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
const Architecture house = {"hesspotw", KERNEL_VERSION, WITHOUT_CORE,
                            shape_as_json, make};
} // namespace architectures

} // namespace hesspot
