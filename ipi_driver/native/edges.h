// SPDX-License-Identifier: MIT
//
// Positions, neighbour lists and a model as `ipi_driver/evaluation/edges.py`
// lays them out, which has these structures from layout.cpp: new members belong
// there, too.

#pragma once

#include <hesspot_kernel.h>

#include <cstdint>

namespace hesspot::ipi {

/// As `hesspot_model_evaluate`.
using Model = decltype(&hesspot_model_evaluate);

/// The centres `first_center` ... of some structures of n_atoms each, counting
/// atoms through all structures. Angstrom, eV.
struct Task {
  std::int64_t n_structures, n_atoms, first_center, n_centers, n_members;
  std::int64_t lone_refused; ///< whether each atom must have a neighbour
  double cutoff_squared, coincident_squared, allowed_squared, model_seconds;
  double *positions;             ///< (3 n_atoms n_structures)
  double *cells;                 ///< (9 n_structures), lattice vectors as rows
  const double *reference;       ///< as positions: where the lists were made
  const double *reference_cells; ///< as cells
  const double *shifts;          ///< (3 n_listed) lattice vectors, or null
  const std::int64_t *species;   ///< (n_centers)
  const std::int64_t *first_listed;   ///< (n_centers + 1)
  const std::int64_t *neighbors;      ///< (n_listed) atoms
  const std::int64_t *listed_species; ///< (n_listed) of the neighbours
  // the edges within the cutoff: indices into the lists, and what a model takes
  std::int64_t *near, *first_edge, *neighbor_species;
  double *vectors;
  // what the model gives, for each member
  double *energies, *gradient;
  // for each member: energy (n_structures), forces (as positions), virial (9
  // n_structures)
  double *sums;
  Model function;
  const void *model;
};

enum Status : std::int64_t {
  DONE = 0,
  STALE = 1,      ///< a list does not reach far enough any more
  COINCIDENT = 2, ///< two atoms on one place
  NOT_FINITE = 3, ///< a structure whose answer is no number
  NO_MEMORY = 4,
  INVALID = 5, ///< a task that leads out of its arrays
  FAILED = 6,  ///< the model, for any other cause
  LONE = 7     ///< an atom without a neighbour
};

/// A status, the edge, centre or structure that it is about, and of INVALID and
/// FAILED a sentence that says why, which the next call overwrites.
struct Answer {
  std::int64_t status, where;
  const char *error;
};

} // namespace hesspot::ipi

extern "C" {

/// INVALID if sizes or indices of a new task would lead out of its arrays.
HESSPOT_API void hesspot_edges_check(const hesspot::ipi::Task *task,
                                     hesspot::ipi::Answer *answer);

/// The edges within the cutoff; `where` is their number. Unless `anyhow`, STALE
/// if the lists may miss one.
HESSPOT_API void hesspot_edges_find(const hesspot::ipi::Task *task, int anyhow,
                                    hesspot::ipi::Answer *answer);

/// Energies, forces and virials from what the model gave for the edges.
HESSPOT_API void hesspot_edges_sum(const hesspot::ipi::Task *task,
                                   hesspot::ipi::Answer *answer);

/// Both, with the task's own model in between.
HESSPOT_API void hesspot_edges_evaluate(hesspot::ipi::Task *task, int anyhow,
                                        hesspot::ipi::Answer *answer);
}
