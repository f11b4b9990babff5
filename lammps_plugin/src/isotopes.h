// SPDX-License-Identifier: GPL-2.0-or-later
//
// Which masses an element can have.

#ifndef HESSPOT_ISOTOPES_H
#define HESSPOT_ISOTOPES_H

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string>

namespace hesspot {

/// An element with the mass numbers of its lightest and heaviest isotope that occurs in nature, or that is long-lived
/// where none does; with tritium.
struct Isotopes {
  const char *symbol;
  int lightest, heaviest;

  /// Whether the mass (amu) lies between these, as that of a mean does.
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

/// A radioactive isotope outside of these ranges with a half-life of more than ten days, amu.
struct Tracer {
  const char *symbol;
  double mass;

  bool has(double other) const { return std::abs(other - mass) < ROUNDED; }

 private:
  static constexpr double ROUNDED = 0.002;  // carbon-14 and the mean of nitrogen differ by 0.004
};

inline constexpr Tracer TRACERS[] = {
    {"Be", 7.0169},   {"Be", 10.0135},  {"C", 14.0032},   {"Na", 21.9944},  {"Al", 25.9869},  {"Si", 31.9742},
    {"P", 31.9739},   {"P", 32.9717},   {"Ar", 41.9630},  {"Sc", 45.9552},  {"Ti", 43.9597},  {"V", 47.9523},
    {"V", 48.9485},   {"Mn", 52.9413},  {"Mn", 53.9404},  {"Fe", 58.9349},  {"Fe", 59.9341},  {"Co", 55.9398},
    {"Co", 56.9363},  {"Co", 57.9358},  {"Co", 59.9338},  {"Ge", 67.9281},  {"As", 72.9238},  {"As", 73.9239},
    {"Rb", 82.9151},  {"Rb", 83.9144},  {"Sr", 81.9184},  {"Sr", 88.9075},  {"Sr", 89.9077},  {"Y", 87.9095},
    {"Y", 90.9073},   {"Zr", 87.9102},  {"Nb", 90.9070},  {"Nb", 91.9072},  {"Nb", 93.9073},  {"Nb", 94.9068},
    {"Ru", 105.9073}, {"Rh", 98.9081},  {"Rh", 100.9062}, {"Rh", 101.9068}, {"Ag", 104.9065}, {"Sn", 125.9077},
    {"Sb", 123.9059}, {"Sb", 124.9053}, {"Sb", 125.9073}, {"I", 124.9046},  {"I", 125.9056},  {"I", 128.9050},
    {"Cs", 133.9067}, {"Cs", 134.9060}, {"Cs", 135.9073}, {"Cs", 136.9071}, {"Ba", 139.9106}, {"La", 136.9065},
    {"Ce", 143.9137}, {"Pr", 142.9108}, {"Pm", 142.9109}, {"Pm", 143.9126}, {"Eu", 146.9168}, {"Eu", 147.9181},
    {"Eu", 148.9179}, {"Eu", 149.9197}, {"Eu", 153.9230}, {"Eu", 154.9229}, {"Eu", 155.9248}, {"Gd", 145.9183},
    {"Gd", 147.9181}, {"Gd", 149.9187}, {"Gd", 150.9204}, {"Tb", 156.9240}, {"Tb", 157.9254}, {"Tb", 159.9272},
    {"Dy", 153.9244}, {"Ho", 162.9287}, {"Tm", 167.9342}, {"Tm", 169.9358}, {"Tm", 170.9364}, {"Lu", 172.9389},
    {"Lu", 173.9403}, {"Hf", 171.9394}, {"Hf", 180.9491}, {"Hf", 181.9506}, {"Ta", 178.9459}, {"Ta", 181.9502},
    {"W", 177.9459},  {"W", 187.9585},  {"Re", 182.9508}, {"Re", 183.9525}, {"Os", 193.9652}, {"Ir", 188.9587},
    {"Ir", 189.9605}, {"Pt", 187.9594}, {"Au", 194.9650}, {"Hg", 193.9654}, {"Tl", 201.9721}, {"Pb", 201.9722},
    {"Pb", 209.9842}, {"Bi", 204.9774}, {"Bi", 206.9785}, {"Bi", 207.9797}, {"Th", 227.0277}, {"Th", 228.0287},
    {"Th", 229.0318}, {"Th", 234.0436}, {"Pa", 230.0345}, {"Pa", 233.0402}, {"U", 230.0339},  {"Np", 235.0441},
    {"Pu", 236.0461}, {"Pu", 237.0484}, {"Pu", 246.0702}, {"Cm", 240.0555}, {"Cm", 241.0577}, {"Cm", 250.0784},
};

/// Those of an element up to curium; nullptr for other words.
inline const Isotopes *isotopes_of(const std::string &symbol)
{
  const auto found = std::find_if(std::begin(ISOTOPES), std::end(ISOTOPES),
                                  [&](const Isotopes &isotopes) { return symbol == isotopes.symbol; });
  return found == std::end(ISOTOPES) ? nullptr : found;
}

/// Whether an atom of the element, or a mean over its isotopes, can have this mass (amu).
inline bool can_have(const Isotopes &isotopes, double mass)
{
  return isotopes.have(mass) || std::any_of(std::begin(TRACERS), std::end(TRACERS), [&](const Tracer &tracer) {
           return tracer.has(mass) && std::string(isotopes.symbol) == tracer.symbol;
         });
}

}  // namespace hesspot

#endif
