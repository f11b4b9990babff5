// SPDX-License-Identifier: MIT
//
// SHA-256 (FIPS 180-4), by which a file says what it holds.

#ifndef HESSPOT_SHA256_H
#define HESSPOT_SHA256_H

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace hesspot {

/// The hash of all that is added, one piece after another.
class Sha256 {
public:
  void add(std::string_view bytes);

  /// In 64 hexadecimal digits; nothing is added afterwards.
  std::string digest();

private:
  std::array<std::uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372,
                                      0xa54ff53a, 0x510e527f, 0x9b05688c,
                                      0x1f83d9ab, 0x5be0cd19};
  std::array<unsigned char, 64> block_{};
  std::uint64_t size_ = 0;

  void take_block();
};

std::string sha256(std::string_view bytes);

} // namespace hesspot

#endif
