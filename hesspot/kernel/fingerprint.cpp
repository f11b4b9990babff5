// SPDX-License-Identifier: MIT

#include "fingerprint.h"

#include "model_error.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace hesspot {
namespace {

constexpr double DOUBLE_TOLERANCE = 1e-8, SINGLE_TOLERANCE = 1e-3;

/// Adds `sign` times the values of the edges, 3 each, to the atoms that the
/// edges end at, and takes it from their centres.
std::vector<Vector> scattered(const FingerprintEntry &entry,
                              const std::vector<double> &values, double sign) {
  std::vector<Vector> sums(entry.species.size(), Vector{0, 0, 0});
  for (std::size_t e = 0; e < entry.n_edges(); e++)
    for (std::size_t k = 0; k < 3; k++) {
      sums[static_cast<std::size_t>(entry.ends[e])][k] +=
          sign * values[3 * e + k];
      sums[static_cast<std::size_t>(entry.centers[e])][k] -=
          sign * values[3 * e + k];
    }
  return sums;
}

struct Difference {
  double worst = 0.0, largest = 1.0;

  void add(double value, double stored) {
    const double difference = std::fabs(value - stored);
    if (!(difference <= worst)) // NaN as well
      worst = difference;
    largest = std::max(largest, std::fabs(stored));
  }

  void add(const std::vector<Vector> &values,
           const std::vector<Vector> &stored) {
    for (std::size_t i = 0; i < stored.size(); i++)
      for (std::size_t k = 0; k < 3; k++)
        add(values[i][k], stored[i][k]);
  }
};

std::array<Difference, 4> differences(const FingerprintEntry &entry,
                                      const Replay &replay) {
  std::vector<double> along;
  for (std::size_t e = 0; e < entry.n_edges(); e++)
    for (std::size_t k = 0; k < 3; k++)
      along.push_back(
          entry.directions[static_cast<std::size_t>(entry.ends[e])][k] -
          entry.directions[static_cast<std::size_t>(entry.centers[e])][k]);
  const auto [energies, gradient, products] = replay(entry, along);

  double energy = 0.0;
  for (const double value : energies)
    energy += value;
  std::vector<Vector> virial(3, Vector{0, 0, 0});
  for (std::size_t e = 0; e < entry.n_edges(); e++)
    for (std::size_t a = 0; a < 3; a++)
      for (std::size_t b = 0; b < 3; b++)
        virial[a][b] -= entry.vectors[3 * e + a] * gradient[3 * e + b];

  std::array<Difference, 4> found;
  const auto n_atoms =
      static_cast<double>(std::max<std::size_t>(entry.species.size(), 1));
  found[0].worst = std::fabs(energy - entry.energy) / n_atoms;
  found[1].add(scattered(entry, gradient, -1.0), entry.forces);
  found[2].add(virial, entry.virial);
  found[3].add(scattered(entry, products, 1.0), entry.products);
  return found;
}

} // namespace

Replay replay_of(const KernelModel &model) {
  return [&model](const FingerprintEntry &entry,
                  const std::vector<double> &directions) {
    Replayed given{std::vector<double>(entry.species.size()),
                   std::vector<double>(entry.vectors.size()),
                   std::vector<double>(entry.vectors.size())};
    model.evaluate(entry.edges(), given.energies.data(), given.gradient.data());
    model.hvp(entry.edges(), directions.data(), given.products.data());
    return given;
  };
}

Deviations check_fingerprint(const std::vector<FingerprintEntry> &fingerprint,
                             const Replay &replay, bool single_precision,
                             const std::string &file) {
  constexpr const char *QUANTITIES[] = {
      "the energy per atom (eV)", "a force (eV/Angstrom)", "the virial (eV)",
      "a Hessian product (eV/Angstrom^2)"};
  const double tolerance =
      single_precision ? SINGLE_TOLERANCE : DOUBLE_TOLERANCE;
  Deviations deviations{};
  for (const auto &entry : fingerprint) {
    const auto found = differences(entry, replay);
    for (std::size_t q = 0; q < found.size(); q++) {
      const auto &[worst, largest] = found[q];
      if (!(worst <= tolerance * largest)) {
        char numbers[80];
        std::snprintf(numbers, sizeof numbers, "%.3g, more than %.3g", worst,
                      tolerance * largest);
        throw ModelError(std::string(QUANTITIES[q]) + " of fingerprint entry " +
                         entry.name + " in model file " + file +
                         " differs from the trained model's by " + numbers +
                         "; use another backend, install hesspot (and `hesspot "
                         "lammps build`) again, or export the model again");
      }
      deviations[q] = std::max(deviations[q], worst);
    }
  }
  return deviations;
}

} // namespace hesspot
