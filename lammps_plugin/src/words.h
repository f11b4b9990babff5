// SPDX-License-Identifier: GPL-2.0-or-later
//
// Words of LAMMPS's commands, and of its binary restart files, which rank 0 writes and reads.

#ifndef HESSPOT_WORDS_H
#define HESSPOT_WORDS_H

#include "lammps_headers.h"

#include <charconv>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

namespace hesspot {

inline std::string joined(const std::vector<std::string> &words)
{
  std::string text;
  for (const auto &word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

/// Words as LAMMPS's commands take them. They live as long as `words`.
inline std::vector<char *> arguments_of(std::vector<std::string> &words)
{
  std::vector<char *> arguments;
  for (auto &word : words) arguments.push_back(word.data());
  return arguments;
}

/// The whole number from 1 to `largest` that a word is; none for all other words.
inline std::optional<LAMMPS_NS::bigint> count_of(const std::string &word, LAMMPS_NS::bigint largest)
{
  LAMMPS_NS::bigint count = 0;
  const char *const last = word.data() + word.size();
  const auto [end, problem] = std::from_chars(word.data(), last, count);
  if (problem != std::errc() || end != last || count < 1 || count > largest) return std::nullopt;
  return count;
}

/// The text of rank `root` on all ranks.
inline std::string broadcast(std::string text, int root, MPI_Comm world)
{
  int length = static_cast<int>(text.size());
  MPI_Bcast(&length, 1, MPI_INT, root, world);
  text.resize(static_cast<std::size_t>(length));
  MPI_Bcast(text.data(), length, MPI_CHAR, root, world);
  return text;
}

inline void write_text(FILE *file, const std::string &text)
{
  const int length = static_cast<int>(text.size());
  std::fwrite(&length, sizeof length, 1, file);
  std::fwrite(text.data(), 1, text.size(), file);
}

/// The text on all ranks; `file` is that of rank 0.
inline std::string read_text(FILE *file, LAMMPS_NS::LAMMPS *lmp)
{
  std::string text;
  int me, length = 0;
  MPI_Comm_rank(lmp->world, &me);
  if (me == 0) {
    LAMMPS_NS::utils::sfread(FLERR, &length, sizeof length, 1, file, nullptr, lmp->error);
    text.resize(static_cast<std::size_t>(length));
    if (length > 0) LAMMPS_NS::utils::sfread(FLERR, text.data(), 1, text.size(), file, nullptr, lmp->error);
  }
  return broadcast(std::move(text), 0, lmp->world);
}

}  // namespace hesspot

#endif
