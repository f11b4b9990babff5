// SPDX-License-Identifier: GPL-2.0-or-later
//
// What each member of a committee says of a rank's own centres.

#include "pair_hesspot.h"

#include <cmath>

using namespace LAMMPS_NS;

/// Adds the members' forces to `forces`, with rows (n_members, 3) for own and ghost atoms, and their energies of the
/// own atoms to `energies`, with rows (n_members); in LAMMPS's units.
void PairHesspot::members(double **forces, double **energies)
{
  const auto count = static_cast<std::size_t>(n_members());
  check_neighbors();
  std::vector<double> energy, gradient;
  const auto ask = [&] {
    const auto &edges = portion.edges;
    const std::size_t n_centers = edges.n_centers(), n_edges = edges.n_edges();
    model->members(edges, energy, gradient);
    for (std::size_t c = 0; c < n_centers; c++) {
      const int i = portion.center_atoms[c];
      for (std::size_t m = 0; m < count; m++)
        energies[i][m] += units.energy * center_scale(i) * energy[m * n_centers + c];
    }
    for (std::size_t e = 0; e < n_edges; e++) {
      const int i = portion.center_atoms[edges.centers[e]], j = portion.neighbor_atoms[e];
      const double factor = units.force() * center_scale(i);
      for (std::size_t m = 0; m < count; m++)
        for (std::size_t k = 0; k < 3; k++) {
          const double share = factor * gradient[3 * (m * n_edges + e) + k];
          if (!std::isfinite(share))
            fail("a force of member " + std::to_string(m + 1) + " is not a finite number; check the structure");
          forces[i][3 * m + k] += share;
          forces[j][3 * m + k] -= share;
        }
    }
  };
  guarded([&] { for_portions(ask); });
}
