// SPDX-License-Identifier: GPL-2.0-or-later
//
// Texts in LAMMPS's binary restart files, which rank 0 writes and reads.

#ifndef HESSPOT_RESTART_TEXT_H
#define HESSPOT_RESTART_TEXT_H

#include "lammps_headers.h"

#include <cstdio>
#include <string>
#include <vector>

namespace hesspot {

inline void write_text(FILE *file, const std::string &text)
{
  const int length = static_cast<int>(text.size());
  std::fwrite(&length, sizeof length, 1, file);
  std::fwrite(text.data(), 1, text.size(), file);
}

/// The text on all ranks; `file` is that of rank 0.
inline std::string read_text(FILE *file, LAMMPS_NS::LAMMPS *lmp)
{
  int me, length = 0;
  MPI_Comm_rank(lmp->world, &me);
  if (me == 0) LAMMPS_NS::utils::sfread(FLERR, &length, sizeof length, 1, file, nullptr, lmp->error);
  MPI_Bcast(&length, 1, MPI_INT, 0, lmp->world);
  std::string text(static_cast<std::size_t>(length), '\0');
  if (me == 0 && length > 0) LAMMPS_NS::utils::sfread(FLERR, text.data(), 1, text.size(), file, nullptr, lmp->error);
  MPI_Bcast(text.data(), length, MPI_CHAR, 0, lmp->world);
  return text;
}

/// Words as LAMMPS's commands take them. They live as long as `words`.
inline std::vector<char *> arguments_of(std::vector<std::string> &words)
{
  std::vector<char *> arguments;
  for (auto &word : words) arguments.push_back(word.data());
  return arguments;
}

}  // namespace hesspot

#endif
