// SPDX-License-Identifier: MIT
//
// The fingerprint in an exported file, and its replay.

#ifndef HESSPOT_FINGERPRINT_H
#define HESSPOT_FINGERPRINT_H

#include "kernel_model.h"

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace hesspot {

using Vector = std::array<double, 3>;

/// A structure, as its edges sorted by centre, and what the trained model gave
/// for it in double precision: eV, eV/Angstrom, eV and eV/Angstrom^2.
struct FingerprintEntry {
  std::string name;
  std::vector<std::int64_t> species;   ///< of the atoms, all of them centres
  std::vector<std::size_t> first_edge; ///< as in Edges
  std::vector<std::int64_t> centers;   ///< of each edge
  std::vector<std::int64_t> ends;      ///< of each edge, where it ends
  std::vector<std::int64_t> neighbor_species;
  std::vector<double> vectors; ///< (3 n_edges) Angstrom
  double energy;
  std::vector<Vector> forces, virial;
  std::vector<Vector> directions, products; ///< v and H v

  std::size_t n_edges() const { return centers.size(); }
  Edges edges() const {
    return {species.size(), species.data(), first_edge.data(),
            neighbor_species.data(), vectors.data()};
  }
};

/// What is replayed, and what it is to give: energies of the centres, gradient
/// with respect to the vectors, and products with directions along the edges.
struct Replayed {
  std::vector<double> energies, gradient, products;
};
using Replay = std::function<Replayed(const FingerprintEntry &,
                                      const std::vector<double> &directions)>;

Replay replay_of(const KernelModel &model);

/// Largest deviations: of the energy (eV per atom), of a force (eV/Angstrom),
/// of the virial (eV) and of a product (eV/Angstrom^2). NaN where an answer has
/// one.
using Deviations = std::array<double, 4>;

/// ModelError if an answer is not the fingerprint's to rounding: each number to
/// 1e-8 (in single precision 1e-3) of the largest of its kind in the entry, or
/// of 1. `file` stands for the file in messages.
Deviations check_fingerprint(const std::vector<FingerprintEntry> &fingerprint,
                             const Replay &replay, bool single_precision,
                             const std::string &file);

} // namespace hesspot

#endif
