// SPDX-License-Identifier: MIT
//
// Ordinary steps of i-PI as `ipi_driver/serving/fast_lane.py` lays them out.
// Python has these structures from layout.cpp: new members belong there, too.

#pragma once

#include "edges.h"

namespace hesspot::ipi {

/// What became of a step.
enum Step : std::int64_t {
  UNUSUAL = 0,     ///< nothing was taken
  ANSWERED = 1,    ///< the next one may be
  INTERRUPTED = 2, ///< by a signal; call again to go on
};

/// Bytes from i-PI that nobody took yet, `first` to `last`.
struct Window {
  std::int64_t capacity, first, last;
  char *bytes;
};

/// The worker's side.
struct WorkerLane {
  std::int64_t pipe, n_structures, n_atoms;
  std::int64_t answered; ///< steps
  double seconds;        ///< of them in the model
  std::int64_t filled;   ///< bytes of the request that are there
  std::int64_t sent;     ///< bytes of the answer, if `has_answer`
  std::int64_t has_answer;
  char *request; ///< number of structures, cells, positions
  char *answer;  ///< status 0, no extras, energies, forces, virials
  Task *task;
};

/// The side of i-PI.
struct FrontLane {
  Window *window;
  std::int64_t socket, pipe, n_structures, n_atoms;
  std::int64_t answered; ///< steps
  double seconds;        ///< of them in the model, if it is in this process
  double bohr, hartree, hartree_per_bohr; ///< in Angstrom, eV, eV/Angstrom
  std::int64_t phase, done, rest;
  char *request, *answer; ///< as the worker's
  char *reply;
  Task *task; ///< null: a worker behind `pipe` has the model
  // i-PI's shared memory, or null where numbers go through the socket
  const char *positions, *cells;
  char *energies, *forces, *virials;
};

} // namespace hesspot::ipi

extern "C" {

/// A `Step`: the next request of the front.
HESSPOT_API std::int64_t hesspot_worker_step(hesspot::ipi::WorkerLane *lane);

/// A `Step`: the next message of i-PI.
HESSPOT_API std::int64_t hesspot_front_step(hesspot::ipi::FrontLane *lane);

/// What all of these are as compiled, a line each: a structure, its size, and
/// of each member name, kind (i, d or p: int64, double, pointer) and offset; or
/// an enumeration, its size, and its names with their values.
HESSPOT_API const char *hesspot_driver_layout();

/// The interface that the library was compiled with: the SHA-256 of those of
/// hesspot_kernel.h, edges.h and this header, in hexadecimal digits.
HESSPOT_API const char *hesspot_driver_interface();
}
