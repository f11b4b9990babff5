// SPDX-License-Identifier: GPL-2.0-or-later
//
// Which atoms are there for the model, and whether the neighbor list holds all of their neighbors: LAMMPS takes bonded
// ones out of it (special_bonds), excluded ones (neigh_modify), and those that a hybrid style gives to others.

#include "pair_hesspot.h"
#include "words.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <unordered_map>

using namespace LAMMPS_NS;

namespace {

/// LAMMPS's number of the group `all`.
constexpr int ALL = 0;

/// A factor of special_bonds that keeps a pair in the list, and other styles' energies of the pair away.
constexpr const char *NEXT_TO_NOTHING = "1e-50";

/// Atoms by the cube that they are in.
class Cubes {
 public:
  explicit Cubes(double side) : side_(side) {}

  void add(const double *place, int atom) { atoms_[key_of(cube_of(place))].push_back(atom); }

  /// Calls `visit` for all atoms that are closer to a place than the side of a cube, and for some others.
  template <typename Visit> void near(const double *place, Visit visit) const
  {
    const auto [a, b, c] = cube_of(place);
    for (std::int64_t i = a - 1; i <= a + 1; i++)
      for (std::int64_t j = b - 1; j <= b + 1; j++)
        for (std::int64_t k = c - 1; k <= c + 1; k++) {
          const auto found = atoms_.find(key_of({i, j, k}));
          if (found != atoms_.end()) std::for_each(found->second.begin(), found->second.end(), visit);
        }
  }

 private:
  using Cube = std::array<std::int64_t, 3>;

  double side_;
  std::unordered_map<std::uint64_t, std::vector<int>> atoms_;

  Cube cube_of(const double *place) const
  {
    Cube cube;
    for (std::size_t k = 0; k < 3; k++) cube[k] = static_cast<std::int64_t>(std::floor(place[k] / side_));
    return cube;
  }

  /// Far cubes may share a key, which does no harm.
  static std::uint64_t key_of(const Cube &cube)
  {
    std::uint64_t key = 0;
    for (const std::int64_t number : cube) key = key << 21 | (static_cast<std::uint64_t>(number) & 0x1fffff);
    return key;
  }
};

}  // namespace

bool PairHesspot::is_center(int i) const
{
  return species_of_type[atom->type[i]] >= 0 && !is_excluded(i);
}

/// Whether `neigh_modify exclude` removes all neighbors of an atom, which then counts as absent: fix gcmc takes atoms
/// away for a trial in this way.
bool PairHesspot::is_excluded(int i) const
{
  for (int m = 0; m < neighbor->nex_group; m++)
    if ((neighbor->ex2_group[m] == ALL && atom->mask[i] & neighbor->ex1_bit[m]) ||
        (neighbor->ex1_group[m] == ALL && atom->mask[i] & neighbor->ex2_bit[m]))
      return true;
  if (neighbor->nex_type == 0) return false;
  const int *const with = neighbor->ex_type[atom->type[i]];
  return std::all_of(with + 1, with + 1 + atom->ntypes, [](int excluded) { return excluded; });
}

/// Ends the run on all ranks if the neighbor list lacks a neighbor of an own centre. To be called by all ranks, when
/// the list is new.
void PairHesspot::check_neighbors()
{
  if (!may_lack_neighbors()) return;
  std::pair<int, int> lacking{-1, -1};
  guarded([&] { lacking = lacking_neighbor(); });
  const auto [i, j] = lacking;
  const int mine = i < 0 ? comm->nprocs : comm->me;
  int first;
  MPI_Allreduce(&mine, &first, 1, MPI_INT, MPI_MIN, world);
  if (first == comm->nprocs) return;
  std::string problem;
  if (mine == first)
    problem = "step " + std::to_string(update->ntimestep) + ": atom " + std::to_string(atom->tag[j]) +
              " is missing among the neighbors of atom " + std::to_string(atom->tag[i]) + ", because " +
              why_lacking(i, j);
  error->all(FLERR, "pair_style hesspot: " + hesspot::broadcast(problem, first, world));
}

/// Whether anything in the input script takes pairs out of the list.
bool PairHesspot::may_lack_neighbors() const
{
  const int *const flags = neighbor->special_flag;  // 0: bonded pairs of this kind are not in the list
  const bool bonded = atom->molecular != Atom::ATOMIC && std::any_of(flags + 1, flags + 4, [](int f) { return !f; });
  const bool excluded = neighbor->nex_type > 0 || neighbor->nex_group > 0 || neighbor->nex_mol > 0;
  return bonded || excluded || force->pair != this;
}

/// An own centre and an atom in its reach, or soon to be, that is not in its list for a reason that is known; -1, -1 if
/// all are there.
std::pair<int, int> PairHesspot::lacking_neighbor() const
{
  const double *const *const x = atom->x;
  const int n_all = atom->nlocal + atom->nghost;
  const double reach = units.length * model->cutoff() + neighbor->skin;
  Cubes cubes(reach);
  for (int j = 0; j < n_all; j++)
    if (is_center(j)) cubes.add(x[j], j);

  std::vector<int> last_list_with(static_cast<std::size_t>(n_all), -1);
  for (int ii = 0; ii < list->inum; ii++) {
    const int i = list->ilist[ii];
    if (!is_center(i)) continue;
    for (int jj = 0; jj < list->numneigh[i]; jj++)
      last_list_with[static_cast<std::size_t>(list->firstneigh[i][jj] & NEIGHMASK)] = i;
    int lacking = -1;
    cubes.near(x[i], [&](int j) {
      if (j == i || last_list_with[static_cast<std::size_t>(j)] == i) return;
      const double d[3] = {x[j][0] - x[i][0], x[j][1] - x[i][1], x[j][2] - x[i][2]};
      if (d[0] * d[0] + d[1] * d[1] + d[2] * d[2] < reach * reach && !why_lacking(i, j).empty()) lacking = j;
    });
    if (lacking >= 0) return {i, lacking};
  }
  return {-1, -1};
}

/// Why an atom is not in the list of an own centre, and what to do; empty where molecules shall not see each other.
std::string PairHesspot::why_lacking(int i, int j) const
{
  const int *const type = atom->type;
  const bool one_molecule = atom->molecule_flag && atom->molecule[i] == atom->molecule[j];

  for (int m = 0; m < neighbor->nex_mol; m++)
    if (atom->mask[i] & atom->mask[j] & neighbor->ex_mol_bit[m] && neighbor->ex_mol_intra[m] == 0 && !one_molecule)
      return {};

  const auto types = "atom types " + std::to_string(type[i]) + " and " + std::to_string(type[j]);
  if (list->iskip && (list->iskip[type[i]] || list->ijskip[type[i]][type[j]]))
    return "the hybrid style gives pairs of " + types +
           " to other styles only; give hesspot all pairs of its types, in hybrid/overlay if others act on them, too";
  bool excluded = neighbor->nex_type > 0 && neighbor->ex_type[type[i]][type[j]];
  for (int m = 0; m < neighbor->nex_group; m++)
    excluded = excluded || (atom->mask[i] & neighbor->ex1_bit[m] && atom->mask[j] & neighbor->ex2_bit[m]) ||
               (atom->mask[j] & neighbor->ex1_bit[m] && atom->mask[i] & neighbor->ex2_bit[m]);
  for (int m = 0; m < neighbor->nex_mol; m++)
    excluded = excluded || (atom->mask[i] & atom->mask[j] & neighbor->ex_mol_bit[m] && one_molecule);
  if (excluded)
    return "neigh_modify exclude removes this pair, but the energy of an atom needs all of its neighbors; use "
           "neigh_modify exclude none, and fix setforce 0 0 0 for atoms that shall not move";

  bool special = atom->molecular == Atom::TEMPLATE && one_molecule;
  if (atom->molecular == Atom::MOLECULAR)
    for (int s = 0, kind = 1; s < atom->nspecial[i][2]; s++) {
      while (s >= atom->nspecial[i][kind - 1]) kind++;
      special = special || (atom->special[i][s] == atom->tag[j] && neighbor->special_flag[kind] == 0);
    }
  if (!special) return {};
  std::string command = "special_bonds";
  for (const auto &[name, factors] : {std::pair{" lj", force->special_lj}, std::pair{" coul", force->special_coul}}) {
    command += name;
    for (int kind = 1; kind <= 3; kind++) {
      char text[40];
      std::snprintf(text, sizeof text, " %.15g", factors[kind]);
      command += neighbor->special_flag[kind] == 0 ? std::string(" ") + NEXT_TO_NOTHING : text;
    }
  }
  if (force->special_angle) command += " angle yes";
  if (force->special_dihedral) command += " dihedral yes";
  return "special_bonds takes bonded pairs out of the neighbor list, but the model needs them; use `" + command +
         "`, which keeps them in the list, and the energies of other styles as they are";
}
