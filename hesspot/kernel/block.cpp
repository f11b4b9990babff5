// SPDX-License-Identifier: MIT

#include "block.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <stdexcept>

namespace hesspot {
namespace {

static_assert(std::endian::native == std::endian::little,
              "blocks are little-endian");

constexpr std::string_view MAGIC = "hesspotw";

/// Larger numbers in a head are damage.
constexpr std::int64_t LARGEST_COUNT = 1 << 16;

/// Takes one part after another from a block.
class Reader {
public:
  explicit Reader(std::string_view block) : rest_(block), size_(block.size()) {}

  std::string_view bytes(std::size_t count) {
    if (count > rest_.size())
      throw std::invalid_argument("end after " + std::to_string(size_) +
                                  " bytes, before their last number");
    const auto taken = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return taken;
  }

  int count(const char *name) {
    const auto value = one<std::int64_t>();
    if (value < 1 || value > LARGEST_COUNT)
      throw std::invalid_argument("state " + std::to_string(value) + " as " +
                                  name + ", which cannot be");
    return static_cast<int>(value);
  }

  double number() { return one<double>(); }

  std::vector<double> numbers(std::size_t count) {
    if (count > rest_.size() / sizeof(double))
      bytes(rest_.size() + 1);
    std::vector<double> values(count);
    std::memcpy(values.data(), bytes(count * sizeof(double)).data(),
                count * sizeof(double));
    return values;
  }

  void end() const {
    if (!rest_.empty())
      throw std::invalid_argument("go on for " + std::to_string(rest_.size()) +
                                  " bytes after their last number");
  }

private:
  std::string_view rest_;
  std::size_t size_;

  template <typename T> T one() {
    T value;
    std::memcpy(&value, bytes(sizeof value).data(), sizeof value);
    return value;
  }
};

HouseShape head(Reader &reader) {
  if (reader.bytes(MAGIC.size()) != MAGIC)
    throw std::invalid_argument("do not begin as packed weights do");
  HouseShape shape;
  shape.kernel_version = reader.count("kernel version");
  if (shape.kernel_version != KERNEL_VERSION)
    throw std::invalid_argument("are for version " +
                                std::to_string(shape.kernel_version) +
                                " of the kernel, and this is version " +
                                std::to_string(KERNEL_VERSION));
  shape.envelope_power = reader.count("envelope power");
  if (shape.envelope_power != ENVELOPE_POWER)
    throw std::invalid_argument(
        "are for an envelope of power " + std::to_string(shape.envelope_power) +
        ", and the kernel has power " + std::to_string(ENVELOPE_POWER));
  shape.n_descriptions = reader.count("number of descriptions");
  shape.n_members = reader.count("number of members");
  const int n_elements = reader.count("number of elements");
  shape.n_radial = reader.count("number of radial functions");
  shape.n_channels = reader.count("number of channels");
  shape.n_descriptors = reader.count("number of descriptors");
  const int n_hidden = reader.count("number of hidden layers");
  for (int l = 0; l < n_hidden; l++)
    shape.hidden.push_back(reader.count("width of a layer"));
  for (int s = 0; s < n_elements; s++) {
    const auto padded = reader.bytes(8);
    shape.elements.emplace_back(padded.substr(0, padded.find('\0')));
  }
  shape.cutoff = reader.number();
  if (!(shape.cutoff > 0.0 && std::isfinite(shape.cutoff)))
    throw std::invalid_argument("state no cutoff above 0");
  return shape;
}

} // namespace

std::unique_ptr<KernelModel> make_model(std::string_view block,
                                        bool single_precision) {
  return std::make_unique<House>(unpack(block).weights, single_precision);
}

HouseBlock unpack(std::string_view block) {
  Reader reader(block);
  HouseBlock read{head(reader), {}};
  const HouseShape &shape = read.shape;
  const std::size_t S = shape.elements.size(),
                    K = static_cast<std::size_t>(shape.n_radial),
                    C = static_cast<std::size_t>(shape.n_channels),
                    D = static_cast<std::size_t>(shape.n_descriptors);
  read.weights.n_elements = static_cast<int>(S);
  read.weights.n_radial = shape.n_radial;
  read.weights.n_channels = shape.n_channels;
  read.weights.cutoff = shape.cutoff;
  for (int i = 0; i < shape.n_descriptions; i++) {
    Description description;
    description.scale = reader.number();
    description.mix = reader.numbers(4 * S * S * K * C);
    description.shifts = reader.numbers(S);
    description.mean = reader.numbers(S * D);
    description.inverse_deviation = reader.numbers(S * D);
    for (std::size_t n = 0; n < static_cast<std::size_t>(shape.n_members) * S;
         n++) {
      Network network;
      std::size_t width = D;
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
      network.linear = reader.numbers(D);
      description.networks.push_back(std::move(network));
    }
    read.weights.descriptions.push_back(std::move(description));
  }
  reader.end();
  return read;
}

} // namespace hesspot
