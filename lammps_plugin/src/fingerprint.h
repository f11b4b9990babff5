// SPDX-License-Identifier: GPL-2.0-or-later

#ifndef HESSPOT_FINGERPRINT_H
#define HESSPOT_FINGERPRINT_H

#include <hesspot/model.h>

#include <array>
#include <string>
#include <vector>

namespace hesspot {

using Vector = std::array<double, 3>;

/// A structure of the fingerprint, as its edges, and what the trained model gave for it in double precision: eV,
/// eV/Angstrom, eV and eV/Angstrom^2.
struct FingerprintEntry {
  std::string name;
  EdgeList edges;
  std::vector<std::int64_t> ends;  ///< of each edge, the atom that it ends at
  double energy;
  std::vector<Vector> forces;
  std::array<Vector, 3> virial;
  std::vector<Vector> directions, products;  ///< v and H.v
};

/// ModelError if `model` does not give the numbers of the fingerprint to the rounding of `precision`.
void replay_fingerprint(Model &model, const std::vector<FingerprintEntry> &fingerprint, Precision precision,
                        const std::string &file);

}  // namespace hesspot

#endif
