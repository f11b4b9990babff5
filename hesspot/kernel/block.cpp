// SPDX-License-Identifier: MIT

#include "block.h"

#include "architectures.h"
#include "json.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <tuple>

namespace hesspot {

namespace architectures {
#define HESSPOT_DECLARE(name) extern const Architecture name;
HESSPOT_ARCHITECTURES(HESSPOT_DECLARE)
} // namespace architectures

namespace {

static_assert(std::endian::native == std::endian::little,
              "blocks are little-endian");

/// Larger numbers in a head are damage.
constexpr std::int64_t LARGEST_COUNT = 1 << 16;

/// The architecture of a block, what follows its version, and this.
std::tuple<const Architecture &, BlockReader, int>
opened(std::string_view block) {
  BlockReader reader(block);
  const auto magic = reader.bytes(8);
  for (const Architecture *const one : all_architectures()) {
    if (one->magic != magic)
      continue;
    const int version = reader.count("kernel version");
    if (version < one->oldest || version > one->version)
      throw NoKernel("are for version " + std::to_string(version) +
                     " of the kernel, and this is version " +
                     std::to_string(one->version));
    return {*one, reader, version};
  }
  throw NoKernel("do not begin as those of any kernel here");
}

} // namespace

const std::vector<const Architecture *> &all_architectures() {
#define HESSPOT_ADDRESS(name) &architectures::name,
  static const std::vector<const Architecture *> all = {
      HESSPOT_ARCHITECTURES(HESSPOT_ADDRESS)};
  return all;
}

std::unique_ptr<KernelModel> make_model(std::string_view block,
                                        bool single_precision) {
  const auto [architecture, reader, version] = opened(block);
  auto model = architecture.make(reader, version, single_precision);
  const Json shape = Json::parse(architecture.shape(reader, version));
  model->state(shape.at("elements").texts(), shape.at("cutoff").number(),
               single_precision);
  return model;
}

std::string shape_of(std::string_view block) {
  const auto [architecture, reader, version] = opened(block);
  return architecture.shape(reader, version);
}

std::string_view BlockReader::bytes(std::size_t count) {
  if (count > rest_.size())
    throw std::invalid_argument("end after " + std::to_string(size_) +
                                " bytes, before their last number");
  const auto taken = rest_.substr(0, count);
  rest_.remove_prefix(count);
  return taken;
}

template <typename T> T BlockReader::one() {
  T value;
  std::memcpy(&value, bytes(sizeof value).data(), sizeof value);
  return value;
}

double BlockReader::number() { return one<double>(); }

std::vector<double> BlockReader::numbers(std::size_t count) {
  if (count > rest_.size() / sizeof(double))
    bytes(rest_.size() + 1);
  std::vector<double> values(count);
  std::memcpy(values.data(), bytes(count * sizeof(double)).data(),
              count * sizeof(double));
  return values;
}

int BlockReader::count(const char *name) {
  const auto value = one<std::int64_t>();
  if (value < 1 || value > LARGEST_COUNT)
    throw std::invalid_argument("state " + std::to_string(value) + " as " +
                                name + ", which cannot be");
  return static_cast<int>(value);
}

std::vector<std::string> BlockReader::elements(int count) {
  std::vector<std::string> symbols;
  for (int s = 0; s < count; s++) {
    const auto padded = bytes(8);
    const auto symbol = padded.substr(0, padded.find('\0'));
    const bool letters = std::all_of(symbol.begin(), symbol.end(), [](char c) {
      return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    });
    if (symbol.empty() || !letters)
      throw std::invalid_argument("state an element that is no symbol");
    symbols.emplace_back(symbol);
  }
  return symbols;
}

double BlockReader::cutoff() {
  const double cutoff = number();
  if (!(cutoff > 0.0 && std::isfinite(cutoff)))
    throw std::invalid_argument("state no cutoff above 0");
  return cutoff;
}

void BlockReader::end() const {
  if (!rest_.empty())
    throw std::invalid_argument("go on for " + std::to_string(rest_.size()) +
                                " bytes after their last number");
}

void JsonEntries::begin(const char *name) {
  text_ += (text_.empty() ? "\"" : ", \"") + std::string(name) + "\": ";
}

void JsonEntries::add(const char *name, int value) {
  begin(name);
  text_ += std::to_string(value);
}

namespace {

std::string digits_of(double value) {
  char digits[32];
  std::snprintf(digits, sizeof digits, "%.17g", value);
  return digits;
}

} // namespace

void JsonEntries::add_list(const std::vector<std::string> &words) {
  std::string list;
  for (const auto &word : words)
    list += (list.empty() ? "" : ", ") + word;
  text_ += "[" + list + "]";
}

void JsonEntries::add(const char *name, double value) {
  begin(name);
  text_ += digits_of(value);
}

void JsonEntries::add(const char *name, const std::vector<int> &values) {
  begin(name);
  std::vector<std::string> words;
  for (const int value : values)
    words.push_back(std::to_string(value));
  add_list(words);
}

void JsonEntries::add(const char *name, const std::vector<double> &values) {
  begin(name);
  std::vector<std::string> words;
  for (const double value : values)
    words.push_back(digits_of(value));
  add_list(words);
}

void JsonEntries::add(const char *name,
                      const std::vector<std::string> &values) {
  begin(name);
  std::vector<std::string> words;
  for (const auto &value : values)
    words.push_back("\"" + value + "\"");
  add_list(words);
}

} // namespace hesspot
