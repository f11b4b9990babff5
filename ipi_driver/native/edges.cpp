// SPDX-License-Identifier: MIT
//
// From positions to energies, forces and virials over neighbour lists, around
// one call of a model: what `ipi_driver/evaluation/edges.py` does at every
// step, without the cost of many calls of Python. All arrays belong to the
// caller.

#include "edges.h"

#include <cmath>
#include <cstddef>
#include <cstring>
#include <ctime>
#include <string>

using namespace hesspot::ipi;

namespace {

/// Whether every atom is near enough to where it was; never with NaN.
bool lists_hold(const Task &task) {
  const auto count =
      static_cast<std::size_t>(3 * task.n_atoms * task.n_structures);
  for (std::size_t i = 0; i < count; i += 3) {
    const double x = task.positions[i] - task.reference[i],
                 y = task.positions[i + 1] - task.reference[i + 1],
                 z = task.positions[i + 2] - task.reference[i + 2];
    if (!(x * x + y * y + z * z <= task.allowed_squared))
      return false;
  }
  return !task.shifts ||
         std::memcmp(task.cells, task.reference_cells,
                     static_cast<std::size_t>(9 * task.n_structures) *
                         sizeof(double)) == 0;
}

Answer find_edges(const Task &task) {
  std::int64_t next = 0;
  for (std::int64_t c = 0; c < task.n_centers; c++) {
    task.first_edge[c] = next;
    const std::int64_t atom = task.first_center + c;
    const double *const here = task.positions + 3 * atom;
    const double *const cell = task.cells + 9 * (atom / task.n_atoms);
    for (std::int64_t l = task.first_listed[c]; l < task.first_listed[c + 1];
         l++) {
      const double *const there = task.positions + 3 * task.neighbors[l];
      double *const v = task.vectors + 3 * next;
      for (int k = 0; k < 3; k++)
        v[k] = there[k] - here[k];
      if (task.shifts) {
        const double *const s = task.shifts + 3 * l;
        for (int k = 0; k < 3; k++)
          v[k] += s[0] * cell[k] + s[1] * cell[3 + k] + s[2] * cell[6 + k];
      }
      const double squared = v[0] * v[0] + v[1] * v[1] + v[2] * v[2];
      if (squared < task.coincident_squared)
        return {COINCIDENT, l, nullptr};
      if (squared < task.cutoff_squared) {
        task.near[next] = l;
        task.neighbor_species[next] = task.listed_species[l];
        next++;
      }
    }
    if (task.lone_refused && next == task.first_edge[c])
      return {LONE, atom, nullptr};
  }
  task.first_edge[task.n_centers] = next;
  return {DONE, next, nullptr};
}

/// Sums of one member; the first structure whose sums are not finite, or -1.
std::int64_t sum_member(const Task &task, const double *energies,
                        const double *gradient, double *sums) {
  const std::int64_t n = task.n_structures, size = 1 + 3 * task.n_atoms + 9;
  double *const energy = sums, *const forces = sums + n,
                *const virials = forces + 3 * task.n_atoms * n;
  std::memset(sums, 0, static_cast<std::size_t>(n * size) * sizeof(double));
  for (std::int64_t c = 0; c < task.n_centers; c++) {
    const std::int64_t atom = task.first_center + c,
                       structure = atom / task.n_atoms;
    energy[structure] += energies[c];
    double *const own = forces + 3 * atom, *const virial =
                                               virials + 9 * structure;
    for (std::int64_t e = task.first_edge[c]; e < task.first_edge[c + 1]; e++) {
      const double *const g = gradient + 3 * e, *const v = task.vectors + 3 * e;
      double *const other = forces + 3 * task.neighbors[task.near[e]];
      for (int k = 0; k < 3; k++) {
        own[k] += g[k];
        other[k] -= g[k];
        for (int j = 0; j < 3; j++)
          virial[3 * k + j] -= v[k] * g[j];
      }
    }
  }
  for (std::int64_t s = 0; s < n; s++) {
    bool finite = std::isfinite(energy[s]);
    for (std::int64_t i = 0; i < 3 * task.n_atoms; i++)
      finite = finite && std::isfinite(forces[3 * task.n_atoms * s + i]);
    for (int i = 0; i < 9; i++)
      finite = finite && std::isfinite(virials[9 * s + i]);
    if (!finite)
      return s;
  }
  return -1;
}

/// What is wrong with a task; empty if nothing is.
std::string fault(const Task &task) {
  const std::int64_t n_atoms = task.n_structures * task.n_atoms,
                     last = task.first_center + task.n_centers;
  if (task.n_structures < 1 || task.n_atoms < 1 || task.n_members < 1)
    return std::to_string(task.n_structures) + " structures of " +
           std::to_string(task.n_atoms) + " atoms for " +
           std::to_string(task.n_members) +
           " members of a model; there must be one of each at least";
  if (task.first_center < 0 || task.n_centers < 0 || last > n_atoms)
    return "centres " + std::to_string(task.first_center) + " to " +
           std::to_string(last - 1) + " of " + std::to_string(n_atoms) +
           " atoms; they must be among these";
  std::int64_t listed = 0;
  for (std::int64_t c = 0; c <= task.n_centers; c++) {
    if (task.first_listed[c] < listed || (c == 0 && task.first_listed[0] != 0))
      return "the neighbour list of atom " +
             std::to_string(task.first_center + c) + " begins at " +
             std::to_string(task.first_listed[c]) + "; lists must follow one " +
             "another from 0";
    listed = task.first_listed[c];
  }
  for (std::int64_t l = 0; l < listed; l++)
    if (task.neighbors[l] < 0 || task.neighbors[l] >= n_atoms)
      return "neighbour " + std::to_string(task.neighbors[l]) + " of pair " +
             std::to_string(l) + " is none of the " + std::to_string(n_atoms) +
             " atoms; give their indices, from 0";
  return {};
}

/// INVALID with a sentence.
Answer invalid(const std::string &why) {
  thread_local std::string text;
  text = why;
  return {INVALID, 0, text.c_str()};
}

double thread_seconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) +
         1e-9 * static_cast<double>(now.tv_nsec);
}

} // namespace

extern "C" {

void hesspot_edges_check(const Task *task, Answer *answer) {
  const std::string error = fault(*task);
  *answer = error.empty() ? Answer{DONE, 0, nullptr} : invalid(error);
}

void hesspot_edges_find(const Task *task, int anyhow, Answer *answer) {
  *answer = anyhow || lists_hold(*task) ? find_edges(*task)
                                        : Answer{STALE, 0, nullptr};
}

void hesspot_edges_sum(const Task *task, Answer *answer) {
  const std::int64_t n_edges = task->first_edge[task->n_centers],
                     n_sums = task->n_structures * (10 + 3 * task->n_atoms);
  *answer = {DONE, 0, nullptr};
  for (std::int64_t member = 0; member < task->n_members; member++) {
    const std::int64_t bad = sum_member(
        *task, task->energies + member * task->n_centers,
        task->gradient + 3 * member * n_edges, task->sums + member * n_sums);
    if (bad >= 0) {
      *answer = {NOT_FINITE, bad, nullptr};
      return;
    }
  }
}

void hesspot_edges_evaluate(Task *task, int anyhow, Answer *answer) {
  if (!task->function) {
    *answer = invalid("the model of these edges is no C function; call it "
                      "between finding the edges and summing");
    return;
  }
  hesspot_edges_find(task, anyhow, answer);
  if (answer->status != DONE)
    return;
  const double start = thread_seconds();
  const char *error = nullptr;
  const hesspot_edges edges = {task->n_centers,        answer->where,
                               task->species,          task->first_edge,
                               task->neighbor_species, task->vectors};
  const int failed = task->function(task->model, &edges, task->energies,
                                    task->gradient, &error);
  task->model_seconds = thread_seconds() - start;
  if (failed)
    *answer = {failed == HESSPOT_NO_MEMORY ? NO_MEMORY : FAILED, 0, error};
  else
    hesspot_edges_sum(task, answer);
}
}
