// SPDX-License-Identifier: GPL-2.0-or-later
//
// Which masses an element can have.

#ifndef HESSPOT_ISOTOPES_H
#define HESSPOT_ISOTOPES_H

#include <algorithm>
#include <iterator>
#include <string>

namespace hesspot {

/// An element with the mass numbers of its lightest and heaviest isotope that occurs in nature, or that is long-lived
/// where none does; with tritium.
struct Isotopes {
  const char *symbol;
  int lightest, heaviest;

  /// Whether an atom of the element, or a mean over its isotopes, can have this mass (amu).
  bool have(double mass) const { return mass > lightest - MARGIN && mass < heaviest + MARGIN; }

 private:
  static constexpr double MARGIN = 0.15;  // mass defects are below 0.1 amu
};

inline constexpr Isotopes ISOTOPES[] = {
    {"H", 1, 3},      {"He", 3, 4},     {"Li", 6, 7},     {"Be", 9, 9},     {"B", 10, 11},    {"C", 12, 13},
    {"N", 14, 15},    {"O", 16, 18},    {"F", 19, 19},    {"Ne", 20, 22},   {"Na", 23, 23},   {"Mg", 24, 26},
    {"Al", 27, 27},   {"Si", 28, 30},   {"P", 31, 31},    {"S", 32, 36},    {"Cl", 35, 37},   {"Ar", 36, 40},
    {"K", 39, 41},    {"Ca", 40, 48},   {"Sc", 45, 45},   {"Ti", 46, 50},   {"V", 50, 51},    {"Cr", 50, 54},
    {"Mn", 55, 55},   {"Fe", 54, 58},   {"Co", 59, 59},   {"Ni", 58, 64},   {"Cu", 63, 65},   {"Zn", 64, 70},
    {"Ga", 69, 71},   {"Ge", 70, 76},   {"As", 75, 75},   {"Se", 74, 82},   {"Br", 79, 81},   {"Kr", 78, 86},
    {"Rb", 85, 87},   {"Sr", 84, 88},   {"Y", 89, 89},    {"Zr", 90, 96},   {"Nb", 93, 93},   {"Mo", 92, 100},
    {"Tc", 97, 99},   {"Ru", 96, 104},  {"Rh", 103, 103}, {"Pd", 102, 110}, {"Ag", 107, 109}, {"Cd", 106, 116},
    {"In", 113, 115}, {"Sn", 112, 124}, {"Sb", 121, 123}, {"Te", 120, 130}, {"I", 127, 127},  {"Xe", 124, 136},
    {"Cs", 133, 133}, {"Ba", 130, 138}, {"La", 138, 139}, {"Ce", 136, 142}, {"Pr", 141, 141}, {"Nd", 142, 150},
    {"Pm", 145, 147}, {"Sm", 144, 154}, {"Eu", 151, 153}, {"Gd", 152, 160}, {"Tb", 159, 159}, {"Dy", 156, 164},
    {"Ho", 165, 165}, {"Er", 162, 170}, {"Tm", 169, 169}, {"Yb", 168, 176}, {"Lu", 175, 176}, {"Hf", 174, 180},
    {"Ta", 180, 181}, {"W", 180, 186},  {"Re", 185, 187}, {"Os", 184, 192}, {"Ir", 191, 193}, {"Pt", 190, 198},
    {"Au", 197, 197}, {"Hg", 196, 204}, {"Tl", 203, 205}, {"Pb", 204, 208}, {"Bi", 209, 209}, {"Po", 208, 210},
    {"At", 209, 211}, {"Rn", 210, 222}, {"Fr", 212, 223}, {"Ra", 223, 228}, {"Ac", 225, 228}, {"Th", 230, 232},
    {"Pa", 231, 231}, {"U", 232, 238},  {"Np", 236, 239}, {"Pu", 238, 244}, {"Am", 241, 243}, {"Cm", 242, 248},
};

/// Those of an element up to curium; nullptr for other words.
inline const Isotopes *isotopes_of(const std::string &symbol)
{
  const auto found = std::find_if(std::begin(ISOTOPES), std::end(ISOTOPES),
                                  [&](const Isotopes &isotopes) { return symbol == isotopes.symbol; });
  return found == std::end(ISOTOPES) ? nullptr : found;
}

}  // namespace hesspot

#endif
