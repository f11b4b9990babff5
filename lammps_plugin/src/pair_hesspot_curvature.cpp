// SPDX-License-Identifier: GPL-2.0-or-later
//
// Second derivatives of the energies of a rank's own centres.

#include "pair_hesspot.h"

#include <algorithm>
#include <cmath>

using namespace LAMMPS_NS;

/// Adds H.v of the own centres to `product`, eV/Angstrom^2 times the unit of `direction`; both have rows for own and
/// ghost atoms.
void PairHesspot::hvp(const double *const *direction, double **product)
{
  check_neighbors();
  std::vector<double> along, curvature;
  const auto multiply = [&] {
    const auto &edges = portion.edges;
    const auto &center_atoms = portion.center_atoms;
    const auto &neighbor_atoms = portion.neighbor_atoms;
    along.clear();
    along.reserve(edges.vectors.size());
    for (std::size_t e = 0; e < edges.n_edges(); e++)
      for (int k = 0; k < 3; k++)
        along.push_back(direction[neighbor_atoms[e]][k] - direction[center_atoms[edges.centers[e]]][k]);
    differentiate(edges, along, curvature);
    for (std::size_t e = 0; e < edges.n_edges(); e++) {
      const int i = center_atoms[edges.centers[e]];
      for (int k = 0; k < 3; k++) {
        const double share = center_scale(i) * curvature[3 * e + k];
        product[neighbor_atoms[e]][k] += share;
        product[i][k] -= share;
      }
    }
  };
  guarded([&] { for_portions(multiply); });
}

/// Adds the blocks of the atoms of a group, eV/Angstrom^2, as far as they come from own centres.
///
/// The energy of a centre is differentiated for every distinct atom that it sees; the row and the column of the
/// centre itself follow from translation, minus the sum of the others, so that images of the centre drop out.
void PairHesspot::hessian(int groupbit, hesspot::HessianBlocks &sum)
{
  check_neighbors();
  guarded([&] { add_blocks(groupbit, sum); });
}

void PairHesspot::add_blocks(int groupbit, hesspot::HessianBlocks &sum)
{
  const double cutoff_squared = model->cutoff() * model->cutoff();
  const auto &edges = portion.edges;
  const auto &neighbor_atoms = portion.neighbor_atoms;
  hesspot::EdgeList replicas;
  std::vector<double> along, curvature;
  for (int ii = 0; ii < list->inum; ii++) {
    const int i = list->ilist[ii];
    if (!is_center(i)) continue;
    portion.clear();
    add_center(i, cutoff_squared);
    const std::size_t n_edges = edges.n_edges();

    // images of one atom move together: the distinct atoms but the centre, and which of them each edge ends at
    std::vector<tagint> atoms;
    std::vector<int> some_image;
    std::vector<std::ptrdiff_t> which(n_edges, -1);
    for (std::size_t e = 0; e < n_edges; e++) {
      const tagint id = atom->tag[neighbor_atoms[e]];
      if (id == atom->tag[i]) continue;
      which[e] = std::find(atoms.begin(), atoms.end(), id) - atoms.begin();
      if (which[e] < static_cast<std::ptrdiff_t>(atoms.size())) continue;
      atoms.push_back(id);
      some_image.push_back(neighbor_atoms[e]);
    }
    atoms.push_back(atom->tag[i]);
    some_image.push_back(i);
    const std::size_t n_others = atoms.size() - 1;

    // [row atom][column atom], the centre last
    std::vector<hesspot::HessianBlocks::Block> blocks(atoms.size() * atoms.size(), hesspot::HessianBlocks::Block{});
    const std::size_t at_once =
        std::max<std::size_t>(1, static_cast<std::size_t>(max_edges) / std::max<std::size_t>(1, n_edges));
    for (std::size_t first = 0; first < 3 * n_others; first += at_once) {
      const std::size_t last = std::min(first + at_once, 3 * n_others);
      replicas.clear();
      along.assign(3 * n_edges * (last - first), 0.0);
      for (std::size_t r = first; r < last; r++) {
        replicas.add_center(static_cast<int>(edges.species[0]));
        for (std::size_t e = 0; e < n_edges; e++) {
          const double *const v = &edges.vectors[3 * e];
          if (which[e] == static_cast<std::ptrdiff_t>(r / 3)) along[3 * replicas.n_edges() + r % 3] = 1.0;
          replicas.add_edge(static_cast<int>(edges.neighbor_species[e]), v[0], v[1], v[2]);
        }
      }
      differentiate(replicas, along, curvature);
      for (std::size_t r = first; r < last; r++)
        for (std::size_t e = 0; e < n_edges; e++) {
          if (which[e] < 0) continue;
          const double *const h = &curvature[3 * ((r - first) * n_edges + e)];
          const auto row = static_cast<std::size_t>(which[e]), column = r / 3;
          for (std::size_t k = 0; k < 3; k++) {
            blocks[row * atoms.size() + column][3 * k + r % 3] += h[k];
            blocks[n_others * atoms.size() + column][3 * k + r % 3] -= h[k];
          }
        }
    }
    for (std::size_t row = 0; row <= n_others; row++)
      for (std::size_t column = 0; column < n_others; column++)
        for (std::size_t k = 0; k < 9; k++)
          blocks[row * atoms.size() + n_others][k] -= blocks[row * atoms.size() + column][k];

    for (std::size_t row = 0; row <= n_others; row++)
      for (std::size_t column = 0; column <= n_others; column++) {
        if (!(atom->mask[some_image[row]] & groupbit) || !(atom->mask[some_image[column]] & groupbit)) continue;
        auto &block = sum.at(atoms[row], atoms[column]);
        for (std::size_t k = 0; k < 9; k++) block[k] += center_scale(i) * blocks[row * atoms.size() + column][k];
      }
  }
}

void PairHesspot::differentiate(const hesspot::EdgeList &edges, const std::vector<double> &along,
                                std::vector<double> &curvature)
{
  model->hvp(edges, along, curvature);
  for (const double value : curvature)
    if (!std::isfinite(value)) fail("a second derivative of the energy is not a finite number; check the structure");
}
