// SPDX-License-Identifier: GPL-2.0-or-later
//
// Exact curvature for callers outside of LAMMPS, beside LAMMPS's own C library: `hesspot.lammps` calls these through
// ctypes. The compute is one of style hesspot/hvp, initialised by a `run 0`; atoms in the order of LAMMPS's own arrays.
// Functions return nullptr, or a message that is good until the thread's next call.

#include "compute_hesspot_hvp.h"

#include <exception>
#include <memory>
#include <string>

using namespace LAMMPS_NS;

namespace {

thread_local std::string problem;

template <typename Function> const char *reported(void *lammps, const char *id, Function function)
{
  try {
    Compute *const found = static_cast<LAMMPS *>(lammps)->modify->get_compute_by_id(id);
    auto *const compute = dynamic_cast<ComputeHesspotHvp *>(found);
    if (!compute || !compute->is_initialized()) {
      problem = std::string("there is no compute ") + id + " of style hesspot/hvp that a run has initialised";
      return problem.c_str();
    }
    function(*compute);
    return nullptr;
  } catch (const std::exception &exception) {
    problem = exception.what();
    return problem.c_str();
  }
}

}  // namespace

extern "C" {

/// Products of the group's Hessian with `directions` (n, nlocal, 3), eV/Angstrom^2. All ranks call it together.
const char *hesspot_hvp(void *lammps, const char *compute, int n, const double *directions, double *products)
{
  return reported(lammps, compute, [&](ComputeHesspotHvp &hvp) { hvp.apply(n, directions, products); });
}

/// What acts on the group's atoms besides pair_style hesspot, whose curvature alone the other functions give: text that
/// is good until the thread's next call, empty if nothing does. All ranks call it together.
const char *hesspot_left_out(void *lammps, const char *compute, const char **text)
{
  return reported(lammps, compute, [&](ComputeHesspotHvp &hvp) {
    static thread_local std::string others;
    others = hvp.left_out();
    *text = others.c_str();
  });
}

/// What this rank adds to the group's Hessian: n blocks (3, 3) in eV/Angstrom^2 with the IDs of their atoms. The
/// arrays belong to the handle, which hesspot_hessian_free takes.
const char *hesspot_hessian(void *lammps, const char *compute, void **handle, std::int64_t *n,
                            const std::int64_t **rows, const std::int64_t **columns, const double **blocks)
{
  return reported(lammps, compute, [&](ComputeHesspotHvp &hvp) {
    auto sum = std::make_unique<hesspot::HessianBlocks>(hvp.hessian());
    *n = static_cast<std::int64_t>(sum->blocks.size());
    *rows = sum->rows.data();
    *columns = sum->columns.data();
    *blocks = sum->blocks.empty() ? nullptr : sum->blocks[0].data();
    *handle = sum.release();
  });
}

void hesspot_hessian_free(void *handle)
{
  delete static_cast<hesspot::HessianBlocks *>(handle);
}
}
