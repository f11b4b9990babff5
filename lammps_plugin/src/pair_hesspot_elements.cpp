// SPDX-License-Identifier: GPL-2.0-or-later
//
// Whether the elements in pair_coeff can be those of the atom types.

#include "isotopes.h"
#include "pair_hesspot.h"

#include <limits>

using namespace LAMMPS_NS;

/// An atom type whose label is the symbol of another element than the one in pair_coeff. D and T are hydrogen.
void PairHesspot::check_labels()
{
  if (!atom->labelmapflag) return;
  for (const auto &isotopes : hesspot::ISOTOPES) {
    const std::string label = isotopes.symbol;
    const int type = atom->lmap->find(label, Atom::ATOM);
    if (type < 1 || species_of_type[type] < 0) continue;
    const auto &symbol = symbol_of_type[static_cast<std::size_t>(type) - 1];
    if (symbol != label)
      error->all(FLERR, "pair_style hesspot: atom type " + std::to_string(type) + " has the label " + label +
                            ", but pair_coeff makes it " + symbol +
                            "; write the elements in pair_coeff in the order of the atom types");
  }
}

/// A mass that no isotope of the element has: most likely the elements are in another order than the atom types.
void PairHesspot::check_masses()
{
  if (warned_of_masses) return;
  // of each type, the one farthest from its element's: the atoms' own masses come first, as in LAMMPS
  const auto n = static_cast<std::size_t>(atom->ntypes) + 1;
  std::vector<double> lightest(n, std::numeric_limits<double>::infinity()), heaviest(n, 0.0);
  const auto add = [&](int type, double mass) {
    lightest[type] = std::min(lightest[type], mass);
    heaviest[type] = std::max(heaviest[type], mass);
  };
  if (atom->rmass_flag) {
    for (int i = 0; i < atom->nlocal; i++) add(atom->type[i], atom->rmass[i]);
    MPI_Allreduce(MPI_IN_PLACE, lightest.data(), static_cast<int>(n), MPI_DOUBLE, MPI_MIN, world);
    MPI_Allreduce(MPI_IN_PLACE, heaviest.data(), static_cast<int>(n), MPI_DOUBLE, MPI_MAX, world);
  } else {
    for (int type = 1; type <= atom->ntypes; type++)
      if (atom->mass_setflag[type]) add(type, atom->mass[type]);
  }
  std::string wrong;
  for (int type = 1; type <= atom->ntypes; type++) {
    if (species_of_type[type] < 0 || heaviest[type] == 0.0) continue;
    const auto &symbol = symbol_of_type[static_cast<std::size_t>(type) - 1];
    const auto *const isotopes = hesspot::isotopes_of(symbol);
    if (!isotopes) continue;
    const double low = lightest[type] / units.mass, high = heaviest[type] / units.mass;
    if (hesspot::can_have(*isotopes, low) && hesspot::can_have(*isotopes, high)) continue;
    char text[100];
    std::snprintf(text, sizeof text, "%s%g amu of atom type %d is not the mass of %s", wrong.empty() ? "" : ", ",
                  hesspot::can_have(*isotopes, low) ? high : low, type, symbol.c_str());
    wrong += text;
  }
  if (wrong.empty()) return;
  warned_of_masses = true;
  if (comm->me == 0)
    error->warning(FLERR, "pair_style hesspot: " + wrong +
                              "; if pair_coeff has the elements in another order than the atom types, all results are "
                              "wrong");
}
