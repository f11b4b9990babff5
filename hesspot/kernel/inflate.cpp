// SPDX-License-Identifier: MIT

#include "inflate.h"

#include <array>
#include <cstdint>
#include <stdexcept>
#include <vector>

namespace hesspot {
namespace {

constexpr int LONGEST_CODE = 15;

[[noreturn]] void refuse() {
  throw std::invalid_argument("a compressed record is damaged");
}

/// Bits of a stream, the lowest one of each byte first.
class Bits {
public:
  explicit Bits(std::string_view bytes) : bytes_(bytes) {}

  unsigned take(int count) {
    while (n_held_ < count) {
      if (place_ == bytes_.size())
        refuse();
      held_ |= std::uint64_t{static_cast<unsigned char>(bytes_[place_++])}
               << n_held_;
      n_held_ += 8;
    }
    const auto value =
        static_cast<unsigned>(held_ & ((std::uint64_t{1} << count) - 1));
    held_ >>= count;
    n_held_ -= count;
    return value;
  }

  /// What follows the byte that was begun.
  std::string_view whole_bytes(std::size_t count) {
    held_ = 0;
    n_held_ = 0;
    if (count > bytes_.size() - place_)
      refuse();
    place_ += count;
    return bytes_.substr(place_ - count, count);
  }

  /// A code of at most 15 bits never fills more than is held, so that what is
  /// left belongs to the byte that was begun.
  void to_next_byte() {
    held_ = 0;
    n_held_ = 0;
  }

private:
  std::string_view bytes_;
  std::size_t place_ = 0;
  std::uint64_t held_ = 0;
  int n_held_ = 0;
};

/// Canonical Huffman codes of symbols with these lengths; 0: not in use.
class Code {
public:
  Code(const unsigned char *lengths, std::size_t n_symbols) {
    for (std::size_t i = 0; i < n_symbols; i++)
      counts_[lengths[i]]++;
    counts_[0] = 0;
    int left = 1;
    std::array<std::size_t, LONGEST_CODE + 2> begin{};
    for (std::size_t length = 1; length <= LONGEST_CODE; length++) {
      left = 2 * left - counts_[length];
      if (left < 0)
        refuse(); // more codes than there can be
      begin[length + 1] =
          begin[length] + static_cast<std::size_t>(counts_[length]);
    }
    symbols_.resize(begin[LONGEST_CODE + 1]);
    for (std::size_t i = 0; i < n_symbols; i++)
      if (lengths[i])
        symbols_[begin[lengths[i]]++] = static_cast<unsigned short>(i);
  }

  unsigned take(Bits &bits) const {
    int code = 0, first = 0, index = 0;
    for (std::size_t length = 1; length <= LONGEST_CODE; length++) {
      code |= static_cast<int>(bits.take(1));
      const int count = counts_[length];
      if (code - first < count)
        return symbols_[static_cast<std::size_t>(index + code - first)];
      index += count;
      first = 2 * (first + count);
      code *= 2;
    }
    refuse();
  }

private:
  std::array<int, LONGEST_CODE + 1> counts_{};
  std::vector<unsigned short> symbols_;
};

// Lengths and distances: the base of each symbol and its extra bits.
constexpr unsigned LENGTHS[] = {3,  4,  5,  6,   7,   8,   9,   10,  11, 13,
                                15, 17, 19, 23,  27,  31,  35,  43,  51, 59,
                                67, 83, 99, 115, 131, 163, 195, 227, 258};
constexpr int LENGTH_BITS[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                               2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
constexpr unsigned DISTANCES[] = {
    1,    2,    3,    4,    5,    7,    9,    13,    17,    25,
    33,   49,   65,   97,   129,  193,  257,  385,   513,   769,
    1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
constexpr int DISTANCE_BITS[] = {0, 0, 0,  0,  1,  1,  2,  2,  3,  3,
                                 4, 4, 5,  5,  6,  6,  7,  7,  8,  8,
                                 9, 9, 10, 10, 11, 11, 12, 12, 13, 13};

struct Codes {
  Code literals, distances;
};

Codes fixed_codes() {
  std::array<unsigned char, 288> lengths;
  for (std::size_t i = 0; i < lengths.size(); i++)
    lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
  std::array<unsigned char, 30> fives;
  fives.fill(5);
  return {{lengths.data(), lengths.size()}, {fives.data(), fives.size()}};
}

Codes stated_codes(Bits &bits) {
  constexpr std::size_t ORDER[] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                   11, 4,  12, 3, 13, 2, 14, 1, 15};
  const std::size_t n_literals = bits.take(5) + 257,
                    n_distances = bits.take(5) + 1,
                    n_lengths = bits.take(4) + 4;
  if (n_literals > 286 || n_distances > 30)
    refuse();
  std::array<unsigned char, 320> lengths{};
  for (std::size_t i = 0; i < n_lengths; i++)
    lengths[ORDER[i]] = static_cast<unsigned char>(bits.take(3));
  const Code of_lengths(lengths.data(), 19);
  lengths.fill(0);
  for (std::size_t i = 0; i < n_literals + n_distances;) {
    const unsigned symbol = of_lengths.take(bits);
    if (symbol < 16) {
      lengths[i++] = static_cast<unsigned char>(symbol);
      continue;
    }
    if (symbol == 16 && i == 0)
      refuse();
    const unsigned char value = symbol == 16 ? lengths[i - 1] : 0;
    const std::size_t count = symbol == 16   ? 3 + bits.take(2)
                              : symbol == 17 ? 3 + bits.take(3)
                                             : 11 + bits.take(7);
    if (count > n_literals + n_distances - i)
      refuse();
    for (std::size_t k = 0; k < count; k++)
      lengths[i++] = value;
  }
  return {{lengths.data(), n_literals},
          {lengths.data() + n_literals, n_distances}};
}

void take_block(Bits &bits, const Codes &codes, std::size_t size,
                std::string &bytes) {
  constexpr unsigned END = 256;
  for (;;) {
    const unsigned symbol = codes.literals.take(bits);
    if (symbol == END)
      return;
    if (symbol < END) {
      if (bytes.size() == size)
        refuse();
      bytes += static_cast<char>(symbol);
      continue;
    }
    const std::size_t of_length = symbol - END - 1;
    if (of_length >= std::size(LENGTHS))
      refuse();
    const std::size_t length =
        LENGTHS[of_length] + bits.take(LENGTH_BITS[of_length]);
    const std::size_t of_distance = codes.distances.take(bits);
    if (of_distance >= std::size(DISTANCES))
      refuse();
    const std::size_t distance =
        DISTANCES[of_distance] + bits.take(DISTANCE_BITS[of_distance]);
    if (distance > bytes.size() || length > size - bytes.size())
      refuse();
    for (std::size_t k = 0; k < length; k++)
      bytes += bytes[bytes.size() - distance];
  }
}

} // namespace

std::string inflated(std::string_view packed, std::size_t size) {
  Bits bits(packed);
  std::string bytes;
  for (bool last = false; !last;) {
    last = bits.take(1);
    switch (bits.take(2)) {
    case 0: {
      bits.to_next_byte();
      const std::size_t count = bits.take(16);
      if (bits.take(16) != (count ^ 0xffff) || count > size - bytes.size())
        refuse();
      bytes += bits.whole_bytes(count);
      break;
    }
    case 1:
      take_block(bits, fixed_codes(), size, bytes);
      break;
    case 2:
      take_block(bits, stated_codes(bits), size, bytes);
      break;
    default:
      refuse();
    }
  }
  if (bytes.size() != size)
    refuse();
  return bytes;
}

unsigned crc32(std::string_view bytes) {
  static const auto TABLE = [] {
    std::array<std::uint32_t, 256> table;
    for (std::uint32_t n = 0; n < 256; n++) {
      std::uint32_t value = n;
      for (int k = 0; k < 8; k++)
        value = value & 1 ? 0xedb88320 ^ value >> 1 : value >> 1;
      table[n] = value;
    }
    return table;
  }();
  std::uint32_t value = 0xffffffff;
  for (const unsigned char byte : bytes)
    value = TABLE[(value ^ byte) & 0xff] ^ value >> 8;
  return ~value;
}

} // namespace hesspot
