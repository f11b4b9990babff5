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

constexpr const char *SYMBOLS[] = {
    "",   "H",  "He", "Li", "Be", "B",  "C",  "N",  "O",  "F",  "Ne", "Na", "Mg", "Al", "Si", "P",  "S",
    "Cl", "Ar", "K",  "Ca", "Sc", "Ti", "V",  "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn", "Ga", "Ge", "As",
    "Se", "Br", "Kr", "Rb", "Sr", "Y",  "Zr", "Nb", "Mo", "Tc", "Ru", "Rh", "Pd", "Ag", "Cd", "In", "Sn",
    "Sb", "Te", "I",  "Xe", "Cs", "Ba", "La", "Ce", "Pr", "Nd", "Pm", "Sm", "Eu", "Gd", "Tb", "Dy", "Ho",
    "Er", "Tm", "Yb", "Lu", "Hf", "Ta", "W",  "Re", "Os", "Ir", "Pt", "Au", "Hg", "Tl", "Pb", "Bi", "Po",
    "At", "Rn", "Fr", "Ra", "Ac", "Th", "Pa", "U",  "Np", "Pu", "Am", "Cm", "Bk", "Cf", "Es", "Fm", "Md",
    "No", "Lr", "Rf", "Db", "Sg", "Bh", "Hs", "Mt", "Ds", "Rg", "Cn", "Nh", "Fl", "Mc", "Lv", "Ts", "Og"};

double dot(const Vector &a, const Vector &b)
{
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

Vector cross(const Vector &a, const Vector &b)
{
  return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
}

/// The cell with its vectors along directions that are not periodic replaced by some at right angles to the others.
std::array<Vector, 3> completed(std::array<Vector, 3> cell, const std::array<bool, 3> &periodic)
{
  const auto n_periodic = std::count(periodic.begin(), periodic.end(), true);
  if (n_periodic == 0) return {{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}};
  for (std::size_t k = 0; k < 3; k++) {
    const std::size_t next = (k + 1) % 3, last = (k + 2) % 3;
    if (n_periodic == 2 && !periodic[k]) cell[k] = cross(cell[next], cell[last]);
    if (n_periodic == 1 && periodic[k]) {
      const Vector &a = cell[k];
      Vector axis{0, 0, 0};
      axis[std::fabs(a[0]) < std::fabs(a[1]) ? 0 : 1] = 1.0;
      cell[next] = cross(a, axis);
      cell[last] = cross(a, cell[next]);
    }
  }
  return cell;
}

/// All edges within the cutoff, and the atom that each of them ends at.
std::pair<Edges, std::vector<std::size_t>> edges_of(const FingerprintEntry &entry, const Model &model,
                                                    const std::string &file)
{
  std::vector<int> species;
  for (const int number : entry.numbers) {
    const std::string symbol = number >= 1 && number <= 118 ? SYMBOLS[number] : "of an unknown number";
    const auto found = std::find(model.elements().begin(), model.elements().end(), symbol);
    if (found == model.elements().end())
      throw ModelError("the fingerprint of model file " + file + " has element " + symbol +
                       ", which the model has not; export the model again with `hesspot export`");
    species.push_back(static_cast<int>(found - model.elements().begin()));
  }

  const auto cell = completed(entry.cell, entry.periodic);
  const double volume = dot(cell[0], cross(cell[1], cell[2]));
  std::array<Vector, 3> reciprocal;
  for (std::size_t k = 0; k < 3; k++) {
    reciprocal[k] = cross(cell[(k + 1) % 3], cell[(k + 2) % 3]);
    for (double &component : reciprocal[k]) component /= volume;
  }

  Edges edges;
  std::vector<std::size_t> ends;
  for (std::size_t i = 0; i < species.size(); i++) {
    edges.add_center(species[i]);
    for (std::size_t j = 0; j < species.size(); j++) {
      Vector d;
      for (std::size_t k = 0; k < 3; k++) d[k] = entry.positions[j][k] - entry.positions[i][k];
      int lowest[3] = {0, 0, 0}, highest[3] = {0, 0, 0};
      for (std::size_t k = 0; k < 3; k++) {
        if (!entry.periodic[k]) continue;
        const double reach = model.cutoff() * std::sqrt(dot(reciprocal[k], reciprocal[k]));
        lowest[k] = static_cast<int>(std::ceil(-reach - dot(reciprocal[k], d)));
        highest[k] = static_cast<int>(std::floor(reach - dot(reciprocal[k], d)));
      }
      for (int a = lowest[0]; a <= highest[0]; a++)
        for (int b = lowest[1]; b <= highest[1]; b++)
          for (int c = lowest[2]; c <= highest[2]; c++) {
            if (i == j && a == 0 && b == 0 && c == 0) continue;
            Vector v;
            for (std::size_t k = 0; k < 3; k++) v[k] = d[k] + a * cell[0][k] + b * cell[1][k] + c * cell[2][k];
            if (dot(v, v) >= model.cutoff() * model.cutoff()) continue;
            edges.add_edge(species[j], v[0], v[1], v[2]);
            ends.push_back(j);
          }
    }
  }
  return {std::move(edges), std::move(ends)};
}

/// Adds `sign` times the values of the edges, 3 each, to the atoms that the edges end at, and takes it from their
/// centres.
std::vector<Vector> scattered(const Edges &edges, const std::vector<std::size_t> &ends,
                              const std::vector<double> &values, double sign)
{
  std::vector<Vector> sums(edges.n_centers(), Vector{0, 0, 0});
  for (std::size_t e = 0; e < edges.n_edges(); e++)
    for (std::size_t k = 0; k < 3; k++) {
      sums[ends[e]][k] += sign * values[3 * e + k];
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
    const auto [edges, ends] = edges_of(entry, model, file);
    std::vector<double> energies, gradient, along, products;
    for (std::size_t e = 0; e < edges.n_edges(); e++)
      for (std::size_t k = 0; k < 3; k++)
        along.push_back(entry.directions[ends[e]][k] - entry.directions[static_cast<std::size_t>(edges.centers[e])][k]);
    model.evaluate(edges, energies, gradient);
    model.hvp(edges, along, products);

    double energy = 0.0;
    for (const double value : energies) energy += value;
    std::array<Vector, 3> virial{};
    for (std::size_t e = 0; e < edges.n_edges(); e++)
      for (std::size_t a = 0; a < 3; a++)
        for (std::size_t b = 0; b < 3; b++) virial[a][b] -= edges.vectors[3 * e + a] * gradient[3 * e + b];

    const Comparison compare(precision, entry.name, file);
    compare.energy(energy, entry.energy, entry.numbers.size());
    compare.rows(scattered(edges, ends, gradient, -1.0), entry.forces, "a force (eV/Angstrom)");
    compare.rows(virial, entry.virial, "the virial (eV)");
    compare.rows(scattered(edges, ends, products, 1.0), entry.products, "a Hessian product (eV/Angstrom^2)");
  }
}

}  // namespace hesspot
