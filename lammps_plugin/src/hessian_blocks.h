// SPDX-License-Identifier: GPL-2.0-or-later
//
// A sum of 3 x 3 blocks of a Hessian, found by the IDs of their two atoms.

#ifndef HESSPOT_HESSIAN_BLOCKS_H
#define HESSPOT_HESSIAN_BLOCKS_H

#include <array>
#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

namespace hesspot {

class HessianBlocks {
 public:
  using Block = std::array<double, 9>;  // row by row

  std::vector<std::int64_t> rows, columns;  ///< IDs of the atoms of each block
  std::vector<Block> blocks;

  /// The block of two atoms, zero at first. The reference is good until the next call.
  Block &at(std::int64_t row, std::int64_t column)
  {
    const auto [place, is_new] = places_.try_emplace({row, column}, blocks.size());
    if (is_new) {
      rows.push_back(row);
      columns.push_back(column);
      blocks.push_back({});
    }
    return blocks[place->second];
  }

 private:
  struct Pair {
    std::int64_t row, column;
    bool operator==(const Pair &) const = default;
  };
  struct Hash {
    std::size_t operator()(const Pair &pair) const
    {
      return (static_cast<std::size_t>(pair.row) * 0x9E3779B97F4A7C15ULL) ^
             (static_cast<std::size_t>(pair.column) * 0xC2B2AE3D27D4EB4FULL);
    }
  };
  std::unordered_map<Pair, std::size_t, Hash> places_;
};

}  // namespace hesspot

#endif
