// SPDX-License-Identifier: MIT

#include "soap.h"

#include "instruction_sets.h"
#include "kernel_model.h"
#include "soap_loops.h"
#include "team.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <type_traits>
#include <vector>

namespace hesspot {

#define HESSPOT_DECLARE(name, supported)                                       \
  namespace name {                                                             \
  extern const SoapLoops soap_loops;                                           \
  }
HESSPOT_INSTRUCTION_SETS(HESSPOT_DECLARE)

namespace {

#define HESSPOT_LOOPS(name, supported) &name::soap_loops,
constexpr const SoapLoops *LOOPS[] = {HESSPOT_INSTRUCTION_SETS(HESSPOT_LOOPS)};

template <typename Real>
void step_one(const SoapLoops &loops, const SoapMatrix<Real> &matrix,
              const SoapStep &step, Real *scratch) {
  if constexpr (std::is_same_v<Real, double>)
    loops.step_double(matrix, step, scratch);
  else
    loops.step_single(matrix, step, scratch);
}

} // namespace

template <typename Real>
void soap_step(const SoapMatrix<Real> *matrices, std::size_t count,
               const SoapStep &step, std::size_t threads) {
  const SoapLoops &loops = *LOOPS[chosen_instruction_set()];
  std::size_t largest = 0;
  for (std::size_t i = 0; i < count; i++)
    largest = std::max(largest, soap_scratch(matrices[i]));
  std::atomic<std::size_t> next = 0;
  thread_local std::shared_ptr<Team> team; // for the next step
  if (!team || team->size() != threads)
    team = team_of(threads);
  team->run(std::clamp<std::size_t>(count, 1, threads), [&](std::size_t) {
    thread_local std::vector<Real> scratch;
    scratch.resize(std::max(largest, scratch.size()));
    for (std::size_t i; (i = next++) < count;)
      step_one(loops, matrices[i], step, scratch.data());
  });
}

template void soap_step(const SoapMatrix<double> *, std::size_t,
                        const SoapStep &, std::size_t);
template void soap_step(const SoapMatrix<float> *, std::size_t,
                        const SoapStep &, std::size_t);

} // namespace hesspot
