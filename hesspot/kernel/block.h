// SPDX-License-Identifier: MIT
//
// Packed weights, `hesspot.weights` in an exported file (docs/export.md), of
// whatever architecture: their first eight bytes name it, the next eight are
// the version of its formulas.

#ifndef HESSPOT_BLOCK_H
#define HESSPOT_BLOCK_H

#include "kernel_model.h"

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace hesspot {

/// Weights that are whole as far as can be told, but not for a kernel of this
/// library.
class NoKernel : public std::invalid_argument {
public:
  using std::invalid_argument::invalid_argument;
};

// What is thrown has words that follow "the packed weights": NoKernel as
// above, std::invalid_argument for damage.

/// A model of packed weights. std::runtime_error if HESSPOT_INSTRUCTIONS names
/// what the processor lacks.
std::unique_ptr<KernelModel> make_model(std::string_view block,
                                        bool single_precision);

/// What the head of a block states, as a JSON object; `kernel_version`,
/// `elements` and `cutoff` are in it whatever the architecture.
std::string shape_of(std::string_view block);

/// Takes one part after another from a block.
class BlockReader {
public:
  explicit BlockReader(std::string_view block)
      : rest_(block), size_(block.size()) {}

  std::string_view bytes(std::size_t count);
  double number();
  std::vector<double> numbers(std::size_t count);

  /// A number from 1 on; `name` stands for it in messages.
  int count(const char *name);

  /// The symbols of `count` elements.
  std::vector<std::string> elements(int count);

  /// A length above 0.
  double cutoff();

  /// std::invalid_argument unless all has been taken.
  void end() const;

private:
  std::string_view rest_;
  std::size_t size_;

  template <typename T> T one();
};

/// What NAME.cpp or another file of an architecture defines as
/// `architectures::NAME`; CMake finds the names by the files NAME_kernel.cpp.
struct Architecture {
  std::string_view magic; ///< the first eight bytes of its blocks
  int version;            ///< raised with every change of a formula
  int oldest;             ///< version that is read

  // both read on after the version, which is that of the block
  std::string (*shape)(BlockReader, int version);
  std::unique_ptr<KernelModel> (*make)(BlockReader, int version,
                                       bool single_precision);
};

/// All of this library.
const std::vector<const Architecture *> &all_architectures();

/// Entries of a JSON object, separated by commas.
class JsonEntries {
public:
  void add(const char *name, int value);
  void add(const char *name, double value);
  void add(const char *name, const std::vector<int> &values);
  void add(const char *name, const std::vector<double> &values);
  void add(const char *name, const std::vector<std::string> &values);

  std::string object() const { return "{" + text_ + "}"; }

private:
  std::string text_;

  void begin(const char *name);
  void add_list(const std::vector<std::string> &words);
};

} // namespace hesspot

#endif
