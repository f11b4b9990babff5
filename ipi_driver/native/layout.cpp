// SPDX-License-Identifier: MIT
//
// How structures lie in memory, for Python to build the same.

#include "fast_lane.h"

#include <cstddef>
#include <string>

using namespace hesspot::ipi;

namespace {

char kind(double) { return 'd'; }
char kind(std::int64_t) { return 'i'; }
char kind(const volatile void *) { return 'p'; }
char kind(Model) { return 'p'; }

std::string all() {
  std::string text;
#define BEGIN(type) text += "\n" #type " " + std::to_string(sizeof(type))
#define MEMBER(type, name)                                                     \
  text += std::string(" " #name " ") + kind(type{}.name) + " " +               \
          std::to_string(offsetof(type, name))
#define VALUE(name) text += " " #name " " + std::to_string(std::int64_t(name))
  BEGIN(Task);
  MEMBER(Task, n_structures);
  MEMBER(Task, n_atoms);
  MEMBER(Task, first_center);
  MEMBER(Task, n_centers);
  MEMBER(Task, n_members);
  MEMBER(Task, lone_refused);
  MEMBER(Task, cutoff_squared);
  MEMBER(Task, coincident_squared);
  MEMBER(Task, allowed_squared);
  MEMBER(Task, model_seconds);
  MEMBER(Task, positions);
  MEMBER(Task, cells);
  MEMBER(Task, reference);
  MEMBER(Task, reference_cells);
  MEMBER(Task, shifts);
  MEMBER(Task, species);
  MEMBER(Task, first_listed);
  MEMBER(Task, neighbors);
  MEMBER(Task, listed_species);
  MEMBER(Task, near);
  MEMBER(Task, first_edge);
  MEMBER(Task, neighbor_species);
  MEMBER(Task, vectors);
  MEMBER(Task, energies);
  MEMBER(Task, gradient);
  MEMBER(Task, sums);
  MEMBER(Task, function);
  MEMBER(Task, model);
  BEGIN(Answer);
  MEMBER(Answer, status);
  MEMBER(Answer, where);
  MEMBER(Answer, error);
  BEGIN(Window);
  MEMBER(Window, capacity);
  MEMBER(Window, first);
  MEMBER(Window, last);
  MEMBER(Window, bytes);
  BEGIN(WorkerLane);
  MEMBER(WorkerLane, pipe);
  MEMBER(WorkerLane, n_structures);
  MEMBER(WorkerLane, n_atoms);
  MEMBER(WorkerLane, answered);
  MEMBER(WorkerLane, seconds);
  MEMBER(WorkerLane, filled);
  MEMBER(WorkerLane, sent);
  MEMBER(WorkerLane, has_answer);
  MEMBER(WorkerLane, request);
  MEMBER(WorkerLane, answer);
  MEMBER(WorkerLane, task);
  BEGIN(FrontLane);
  MEMBER(FrontLane, window);
  MEMBER(FrontLane, socket);
  MEMBER(FrontLane, pipe);
  MEMBER(FrontLane, n_structures);
  MEMBER(FrontLane, n_atoms);
  MEMBER(FrontLane, answered);
  MEMBER(FrontLane, seconds);
  MEMBER(FrontLane, bohr);
  MEMBER(FrontLane, hartree);
  MEMBER(FrontLane, hartree_per_bohr);
  MEMBER(FrontLane, phase);
  MEMBER(FrontLane, done);
  MEMBER(FrontLane, rest);
  MEMBER(FrontLane, request);
  MEMBER(FrontLane, answer);
  MEMBER(FrontLane, reply);
  MEMBER(FrontLane, task);
  MEMBER(FrontLane, positions);
  MEMBER(FrontLane, cells);
  MEMBER(FrontLane, energies);
  MEMBER(FrontLane, forces);
  MEMBER(FrontLane, virials);
  BEGIN(Status);
  VALUE(DONE);
  VALUE(STALE);
  VALUE(COINCIDENT);
  VALUE(NOT_FINITE);
  VALUE(NO_MEMORY);
  VALUE(INVALID);
  VALUE(FAILED);
  VALUE(LONE);
  BEGIN(Step);
  VALUE(UNUSUAL);
  VALUE(ANSWERED);
  VALUE(INTERRUPTED);
  return text;
}

} // namespace

extern "C" {

const char *hesspot_driver_layout() {
  static const std::string text = all();
  return text.c_str();
}

const char *hesspot_driver_interface() { return HESSPOT_DRIVER_INTERFACE; }
}
