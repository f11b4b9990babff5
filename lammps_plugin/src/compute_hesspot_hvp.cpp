// SPDX-License-Identifier: GPL-2.0-or-later

#include "compute_hesspot_hvp.h"

#include "other_interactions.h"
#include "pair_hesspot.h"
#include "register.h"
#include "words.h"

#include <algorithm>
#include <cmath>
#include <cstring>

using namespace LAMMPS_NS;

static const hesspot::ComputeStyle<ComputeHesspotHvp> style("hesspot/hvp", "exact Hessian-vector products");

ComputeHesspotHvp::ComputeHesspotHvp(LAMMPS *lmp, int narg, char **arg) :
    Compute(lmp, narg, arg), direction(nullptr), product(nullptr), nmax(0), reading(false)
{
  if (narg == 4) {
    append_source(arg[3]);
  } else if (narg == 6) {
    for (int k = 3; k < 6; k++) components.push_back(component_of(arg[k]));
  } else {
    refuse("write one direction (v, d2_NAME, c_ID or f_ID), or one per component (v_NAME, d_NAME, c_ID[n] ...)");
  }
  scalar_flag = 1;
  extscalar = 0;
  peratom_flag = 1;
  size_peratom_cols = 3;
  comm_forward = 3;
  comm_reverse = 3;
  timeflag = 1;
}

ComputeHesspotHvp::~ComputeHesspotHvp()
{
  memory->destroy(direction);
  memory->destroy(product);
}

void ComputeHesspotHvp::refuse(const std::string &cause)
{
  error->all(FLERR, std::string("compute ") + id + " of style hesspot/hvp: " + cause);
}

/// One word that stands for three components.
void ComputeHesspotHvp::append_source(const std::string &word)
{
  for (int k = 0; k < 3; k++) {
    if (word == "v")
      components.push_back({Source::Velocity, word, k});
    else if (word.rfind("d2_", 0) == 0 || word.rfind("c_", 0) == 0 || word.rfind("f_", 0) == 0)
      components.push_back(component_of(word + "[" + std::to_string(k + 1) + "]"));
    else
      refuse("direction " + word + " is not known; use v, d2_NAME, c_ID or f_ID, or three components");
  }
}

ComputeHesspotHvp::Component ComputeHesspotHvp::component_of(const std::string &word)
{
  const auto underscore = word.find('_'), bracket = word.find('[');
  const std::string kind = word.substr(0, underscore);
  if (underscore == std::string::npos || underscore + 1 >= word.size() || bracket < underscore)
    refuse("component " + word + " is not known; use v_NAME, d_NAME, d2_NAME[n], c_ID, c_ID[n], f_ID or f_ID[n]");
  std::string name = word.substr(underscore + 1);
  int column = -1;
  if (bracket != std::string::npos) {
    name = word.substr(underscore + 1, bracket - underscore - 1);
    const std::string number = word.substr(bracket + 1, word.size() - bracket - 2);
    const auto count = word.back() == ']' ? hesspot::count_of(number, MAXSMALLINT) : std::nullopt;
    if (!count)
      refuse("component " + word + " has no column number from 1 on in its brackets; write for instance " + kind + "_" +
             name + "[1]");
    column = static_cast<int>(*count) - 1;
  }
  if (kind == "c") return {Source::Compute, name, column};
  if (kind == "f") return {Source::Fix, name, column};
  if (kind == "v" && column < 0) return {Source::Variable, name, column};
  if ((kind == "d" && column < 0) || (kind == "d2" && column >= 0)) return {Source::Custom, name, column};
  refuse("component " + word + " is not known; use v_NAME, d_NAME, d2_NAME[n], c_ID, c_ID[n], f_ID or f_ID[n]");
}

void ComputeHesspotHvp::find_pairs()
{
  if (force->pair && utils::strmatch(force->pair_style, "^hybrid/scaled"))
    refuse("the scale factors of pair_style hybrid/scaled are not known to it; use hybrid or hybrid/overlay");
  pairs = hesspot_pairs(force);
  if (pairs.empty()) refuse("there is no pair_style hesspot; define it first");
}

/// What every calculation needs.
void ComputeHesspotHvp::prepare()
{
  invalidate();
  find_pairs();
  if (!std::all_of(pairs.begin(), pairs.end(), [](const PairHesspot *pair) { return pair->is_ready(); }))
    refuse("pair_style hesspot is not set up yet; do a run 0 first");
  grow();
}

void ComputeHesspotHvp::init()
{
  find_pairs();
}

void ComputeHesspotHvp::setup()
{
  const std::string others = left_out();
  if (comm->me == 0 && !others.empty())
    error->warning(FLERR, std::string("compute ") + id +
                              " of style hesspot/hvp: the curvature is that of pair_style hesspot alone, without " +
                              others);
}

std::string ComputeHesspotHvp::left_out()
{
  return other_interactions(lmp, groupbit);
}

void ComputeHesspotHvp::grow()
{
  if (nmax > 0 && atom->nmax <= nmax) return;
  const int rows = std::max(1, atom->nmax);  // an empty rank has rows to point to as well
  nmax = 0;
  memory->destroy(direction);
  memory->destroy(product);
  memory->create(direction, rows, 3, "hesspot/hvp:direction");
  memory->create(product, rows, 3, "hesspot/hvp:product");
  array_atom = product;
  nmax = rows;
}

double ComputeHesspotHvp::compute_scalar()
{
  if (invoked_peratom != update->ntimestep) compute_peratom();
  double mine[2] = {0.0, 0.0}, total[2];
  for (int i = 0; i < atom->nlocal; i++)
    for (int k = 0; k < 3; k++) {
      mine[0] += direction[i][k] * product[i][k];
      mine[1] += direction[i][k] * direction[i][k];
    }
  MPI_Allreduce(mine, total, 2, MPI_DOUBLE, MPI_SUM, world);
  if (total[1] == 0.0) refuse("the direction is zero, so there is no curvature along it; set it to something first");
  scalar = total[0] / total[1];
  invoked_scalar = update->ntimestep;
  return scalar;
}

void ComputeHesspotHvp::compute_peratom()
{
  prepare();
  read_direction();
  multiply();
  const double unit = pairs[0]->curvature_unit();
  for (int i = 0; i < atom->nlocal; i++)
    for (int k = 0; k < 3; k++) product[i][k] *= unit;
  invoked_peratom = update->ntimestep;
}

/// What LAMMPS holds for the values of a step is none any more, whatever happens next.
void ComputeHesspotHvp::invalidate()
{
  invoked_peratom = invoked_scalar = -1;
  invoked_flag &= ~(INVOKED_PERATOM | INVOKED_SCALAR);
}

/// The direction of the own atoms of the group.
void ComputeHesspotHvp::read_direction()
{
  if (reading) refuse("its direction depends on its own product; use another direction");
  struct Reading {
    bool &flag;
    explicit Reading(bool &its_flag) : flag(its_flag) { flag = true; }
    ~Reading() { flag = false; }
  };
  {
    const Reading now(reading);
    for (int k = 0; k < 3; k++) read_component(components[static_cast<std::size_t>(k)], k);
  }
  int mine = 1, all;
  for (int i = 0; i < atom->nlocal; i++)
    for (int k = 0; k < 3; k++)
      if (atom->mask[i] & groupbit && !std::isfinite(direction[i][k])) mine = 0;
  MPI_Allreduce(&mine, &all, 1, MPI_INT, MPI_MIN, world);
  if (!all) refuse("the direction has a component that is not a finite number");
}

/// One component of the direction of the own atoms.
void ComputeHesspotHvp::read_component(const Component &from, int k)
{
  const std::string &name = from.name;
  switch (from.source) {
  case Source::Velocity:
    read_array(from, k, nullptr, atom->v, 3);
    return;
  case Source::Custom: {
    int is_double, columns;
    const int found = atom->find_custom(name.c_str(), is_double, columns);
    if (found < 0 || !is_double || (columns > 0) != (from.column >= 0))
      refuse("there is no per-atom " + std::string(from.column < 0 ? "vector d_" : "array d2_") + name +
             "; define it with fix property/atom");
    if (columns > 0)
      read_array(from, k, nullptr, atom->darray[found], columns);
    else
      read_array(from, k, atom->dvector[found], nullptr, 0);
    return;
  }
  case Source::Compute: {
    Compute *const compute = modify->get_compute_by_id(name);
    if (!compute || !compute->peratom_flag) refuse("there is no per-atom compute " + name);
    if (!(compute->invoked_flag & Compute::INVOKED_PERATOM)) {
      compute->compute_peratom();
      compute->invoked_flag |= Compute::INVOKED_PERATOM;
    }
    read_array(from, k, compute->vector_atom, compute->array_atom, compute->size_peratom_cols);
    return;
  }
  case Source::Fix: {
    Fix *const fix = modify->get_fix_by_id(name);
    if (!fix || !fix->peratom_flag) refuse("there is no per-atom fix " + name);
    if (update->ntimestep % fix->peratom_freq)
      refuse("fix " + name + " has no values on step " + std::to_string(update->ntimestep) +
             "; use a step that is a multiple of " + std::to_string(fix->peratom_freq));
    read_array(from, k, fix->vector_atom, fix->array_atom, fix->size_peratom_cols);
    return;
  }
  case Source::Variable: {
    const int variable = input->variable->find(name.c_str());
    if (variable < 0 || !input->variable->atomstyle(variable)) refuse("there is no atom-style variable " + name);
    input->variable->compute_atom(variable, igroup, &direction[0][k], 3, 0);
    return;
  }
  }
}

void ComputeHesspotHvp::read_array(const Component &from, int k, const double *vector, const double *const *array,
                                   int columns)
{
  if (columns > 0 && from.column < 0) refuse(from.name + " is a per-atom array; name a column, as in [1]");
  if (from.column >= columns)
    refuse(from.name + " has " + std::to_string(columns) + " columns, so there is no column " +
           std::to_string(from.column + 1));
  for (int i = 0; i < atom->nlocal; i++) direction[i][k] = columns > 0 ? array[i][from.column] : vector[i];
}

/// From the direction of the own atoms to the product of the own atoms, eV/Angstrom^2; other groups' atoms do not
/// move, and have zeros.
void ComputeHesspotHvp::multiply()
{
  const auto clear = [this](double **rows) {
    for (int i = 0; i < atom->nlocal; i++)
      if (!(atom->mask[i] & groupbit)) std::fill_n(rows[i], 3, 0.0);
  };
  clear(direction);
  comm->forward_comm(this);
  const int n_all = atom->nlocal + atom->nghost;
  if (n_all > 0) std::memset(&product[0][0], 0, 3 * sizeof(double) * static_cast<std::size_t>(n_all));
  for (auto *const pair : pairs) pair->hvp(direction, product);
  comm->reverse_comm(this);
  clear(product);
}

void ComputeHesspotHvp::apply(int n_directions, const double *directions, double *products)
{
  prepare();
  const auto size = 3 * static_cast<std::size_t>(atom->nlocal);
  for (int n = 0; n < n_directions; n++, directions += size, products += size) {
    if (size > 0) std::memcpy(&direction[0][0], directions, size * sizeof(double));
    multiply();
    if (size > 0) std::memcpy(products, &product[0][0], size * sizeof(double));
  }
}

hesspot::HessianBlocks ComputeHesspotHvp::hessian()
{
  prepare();
  hesspot::HessianBlocks sum;
  for (auto *const pair : pairs) pair->hessian(groupbit, sum);
  return sum;
}

int ComputeHesspotHvp::pack_forward_comm(int n, int *list, double *buffer, int, int *)
{
  for (int i = 0; i < n; i++, buffer += 3) std::copy_n(direction[list[i]], 3, buffer);
  return 3 * n;
}

void ComputeHesspotHvp::unpack_forward_comm(int n, int first, double *buffer)
{
  for (int i = first; i < first + n; i++, buffer += 3) std::copy_n(buffer, 3, direction[i]);
}

int ComputeHesspotHvp::pack_reverse_comm(int n, int first, double *buffer)
{
  for (int i = first; i < first + n; i++, buffer += 3) std::copy_n(product[i], 3, buffer);
  return 3 * n;
}

void ComputeHesspotHvp::unpack_reverse_comm(int n, int *list, double *buffer)
{
  for (int i = 0; i < n; i++, buffer += 3)
    for (int k = 0; k < 3; k++) product[list[i]][k] += buffer[k];
}

double ComputeHesspotHvp::memory_usage()
{
  return 6.0 * nmax * sizeof(double);
}
