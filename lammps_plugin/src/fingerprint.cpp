// SPDX-License-Identifier: GPL-2.0-or-later

#include "fingerprint.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace hesspot {
namespace {

/// Largest deviation, as a part of the largest number of its kind in the entry or of 1, whichever is greater.
constexpr double DOUBLE_TOLERANCE = 1e-8;
constexpr double SINGLE_TOLERANCE = 1e-3;

/// Adds `sign` times the values of the edges, 3 each, to the atoms that the edges end at, and takes it from their
/// centres.
std::vector<Vector> scattered(const FingerprintEntry &entry, const std::vector<double> &values, double sign)
{
  const EdgeList &edges = entry.edges;
  std::vector<Vector> sums(edges.n_centers(), Vector{0, 0, 0});
  for (std::size_t e = 0; e < edges.n_edges(); e++)
    for (std::size_t k = 0; k < 3; k++) {
      sums[static_cast<std::size_t>(entry.ends[e])][k] += sign * values[3 * e + k];
      sums[static_cast<std::size_t>(edges.centers[e])][k] -= sign * values[3 * e + k];
    }
  return sums;
}

/// Compares the replayed numbers with the stored ones.
class Comparison {
 public:
  Comparison(Precision precision, std::string entry, std::string file) :
      tolerance_(precision == Precision::Double ? DOUBLE_TOLERANCE : SINGLE_TOLERANCE), entry_(std::move(entry)),
      file_(std::move(file))
  {
  }

  void energy(double value, double stored, std::size_t n_atoms) const
  {
    refuse_beyond(std::fabs(value - stored) / static_cast<double>(std::max<std::size_t>(n_atoms, 1)), 1.0,
                  "the energy per atom (eV)");
  }

  template <typename Rows> void rows(const Rows &values, const Rows &stored, const std::string &what) const
  {
    double worst = 0.0, largest = 1.0;
    for (std::size_t i = 0; i < stored.size(); i++)
      for (std::size_t k = 0; k < 3; k++) {
        const double difference = std::fabs(values[i][k] - stored[i][k]);
        if (!(difference <= worst)) worst = difference;
        largest = std::max(largest, std::fabs(stored[i][k]));
      }
    refuse_beyond(worst, largest, what);
  }

 private:
  double tolerance_;
  std::string entry_, file_;

  void refuse_beyond(double difference, double largest, const std::string &what) const
  {
    if (difference <= tolerance_ * largest) return;
    char numbers[80];
    std::snprintf(numbers, sizeof numbers, "%.3g, more than %.3g", difference, tolerance_ * largest);
    throw ModelError(
        what + " of fingerprint entry " + entry_ + " in model file " + file_ + " differs from the trained model's by " +
        numbers +
        "; use another backend, build the plugin again with `hesspot lammps build`, or export the model again");
  }
};

}  // namespace

void replay_fingerprint(Model &model, const std::vector<FingerprintEntry> &fingerprint, Precision precision,
                        const std::string &file)
{
  if (fingerprint.empty())
    throw ModelError("model file " + file +
                     " has no fingerprint to verify; export the model again with `hesspot export`");
  for (const auto &entry : fingerprint) {
    const EdgeList &edges = entry.edges;
    std::vector<double> energies, gradient, along, products;
    for (std::size_t e = 0; e < edges.n_edges(); e++)
      for (std::size_t k = 0; k < 3; k++)
        along.push_back(entry.directions[static_cast<std::size_t>(entry.ends[e])][k] -
                        entry.directions[static_cast<std::size_t>(edges.centers[e])][k]);
    model.evaluate(edges, energies, gradient);
    model.hvp(edges, along, products);

    double energy = 0.0;
    for (const double value : energies) energy += value;
    std::array<Vector, 3> virial{};
    for (std::size_t e = 0; e < edges.n_edges(); e++)
      for (std::size_t a = 0; a < 3; a++)
        for (std::size_t b = 0; b < 3; b++) virial[a][b] -= edges.vectors[3 * e + a] * gradient[3 * e + b];

    const Comparison compare(precision, entry.name, file);
    compare.energy(energy, entry.energy, edges.n_centers());
    compare.rows(scattered(entry, gradient, -1.0), entry.forces, "a force (eV/Angstrom)");
    compare.rows(virial, entry.virial, "the virial (eV)");
    compare.rows(scattered(entry, products, 1.0), entry.products, "a Hessian product (eV/Angstrom^2)");
  }
}

}  // namespace hesspot
