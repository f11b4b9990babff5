// SPDX-License-Identifier: GPL-2.0-or-later

#include "other_interactions.h"

#include "lammps_headers.h"
#include "pair_hesspot.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

using namespace LAMMPS_NS;

namespace {

constexpr int FORCES = FixConst::PRE_REVERSE | FixConst::POST_FORCE | FixConst::POST_FORCE_RESPA |
                       FixConst::MIN_PRE_REVERSE | FixConst::MIN_POST_FORCE;

/// Fixes that come where forces are changed, and yet add no curvature: friction and noise, uniform forces, forces that
/// are only looked at, pressure on the box. A name stands for those that go on with a slash, too.
constexpr std::array WITHOUT_CURVATURE = {
    "box/relax", "electron/stopping", "gravity", "halt",    "langevin", "numdiff", "pair",
    "qtb",       "store/force",       "ttm",     "viscous",
};

/// Fixes that do nothing to atoms outside of their own group.
constexpr std::array OWN_GROUP = {
    "addforce",   "aveforce", "drag",  "efield",   "enforce2d", "freeze",      "indent", "lineforce",
    "planeforce", "rattle",   "rigid", "setforce", "shake",     "spring/self", "wall",
};

template <std::size_t N> bool among(std::string_view style, const std::array<const char *, N> &names)
{
  return std::any_of(names.begin(), names.end(), [&](std::string_view name) {
    return style.substr(0, name.size()) == name && (style.size() == name.size() || style[name.size()] == '/');
  });
}

class Search : protected Pointers {
 public:
  Search(LAMMPS *lmp, int groupbit) : Pointers(lmp), groupbit(groupbit) {}

  std::string others()
  {
    add_pairs();
    add_bonded("bond_style", force->bond ? force->bond_style : nullptr, neighbor->bondlist, neighbor->nbondlist, 2);
    add_bonded("angle_style", force->angle ? force->angle_style : nullptr, neighbor->anglelist, neighbor->nanglelist,
               3);
    add_bonded("dihedral_style", force->dihedral ? force->dihedral_style : nullptr, neighbor->dihedrallist,
               neighbor->ndihedrallist, 4);
    add_bonded("improper_style", force->improper ? force->improper_style : nullptr, neighbor->improperlist,
               neighbor->nimproperlist, 4);
    if (force->kspace) add("kspace_style", force->kspace_style);
    for (Fix *const fix : modify->get_fix_list())
      if (changes_forces(*fix)) words.push_back(std::string("fix ") + fix->id + " (" + fix->style + ")");
    std::string text;
    for (const auto &word : words) text += (text.empty() ? "" : ", ") + word;
    return text;
  }

 private:
  int groupbit;
  std::vector<std::string> words;

  void add(const std::string &command, const char *style) { words.push_back(command + " " + style); }

  bool on_any_rank(bool here)
  {
    int mine = here, any = 0;
    MPI_Allreduce(&mine, &any, 1, MPI_INT, MPI_MAX, world);
    return any;
  }

  bool is_of_group(int atom_index) { return atom->mask[atom_index] & groupbit; }

  /// The sub-styles of a hybrid style.
  void add_pairs()
  {
    if (!utils::strmatch(force->pair_style, "^hybrid")) return;
    for (const char *pattern : {"^[^h]", "^h[^y]"}) {  // any name but that of the hybrid style itself
      Pair *before = nullptr;
      for (int n = 1; Pair *const pair = force->pair_match(pattern, 0, n); n++) {
        if (pair == before) break;
        before = pair;
        const std::string style = force->pair_match_ptr(pair);
        if (!dynamic_cast<PairHesspot *>(pair) && style != "zero" && on_any_rank(has_pair(pair->list)))
          add("pair_style", style.c_str());
      }
    }
  }

  bool has_pair(const NeighList *list)
  {
    if (!list) return true;  // a style with several lists, or one of its own
    for (int ii = 0; ii < list->inum; ii++) {
      const int i = list->ilist[ii];
      for (int jj = 0; jj < list->numneigh[i]; jj++)
        if (is_of_group(i) || is_of_group(list->firstneigh[i][jj] & NEIGHMASK)) return true;
    }
    return false;
  }

  void add_bonded(const char *command, const char *style, int **list, int n, int n_atoms)
  {
    if (!style || std::string_view(style) == "zero") return;
    bool found = false;
    for (int k = 0; k < n; k++)
      found = found || std::any_of(list[k], list[k] + n_atoms, [this](int i) { return is_of_group(i); });
    if (on_any_rank(found)) add(command, style);
  }

  bool changes_forces(Fix &fix)
  {
    if (!(modify->get_fix_mask(&fix) & FORCES) && !fix.energy_global_flag && !fix.rigid_flag) return false;
    if (among(fix.style, WITHOUT_CURVATURE)) return false;
    if (!among(fix.style, OWN_GROUP)) return true;
    bool shared = false;
    for (int i = 0; i < atom->nlocal; i++) shared = shared || (is_of_group(i) && (atom->mask[i] & fix.groupbit));
    return on_any_rank(shared);
  }
};

}  // namespace

std::string LAMMPS_NS::other_interactions(LAMMPS *lmp, int groupbit)
{
  return Search(lmp, groupbit).others();
}
