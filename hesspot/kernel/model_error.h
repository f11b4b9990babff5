// SPDX-License-Identifier: MIT

#ifndef HESSPOT_MODEL_ERROR_H
#define HESSPOT_MODEL_ERROR_H

#include <stdexcept>

namespace hesspot {

/// A model file that cannot be used, or an evaluation that failed. One
/// sentence: value, place, remedy.
class ModelError : public std::runtime_error {
public:
  using std::runtime_error::runtime_error;
};

inline constexpr const char *EXPORT_AGAIN =
    "; export it again with `hesspot export`";

} // namespace hesspot

#endif
