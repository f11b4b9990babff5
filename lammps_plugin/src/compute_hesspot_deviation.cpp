// SPDX-License-Identifier: GPL-2.0-or-later

#include "compute_hesspot_deviation.h"

#include "pair_hesspot.h"
#include "register.h"

#include <algorithm>
#include <cmath>
#include <vector>

using namespace LAMMPS_NS;

static const hesspot::ComputeStyle<ComputeHesspotDeviation> style("hesspot/deviation", "disagreement of a committee");

ComputeHesspotDeviation::ComputeHesspotDeviation(LAMMPS *lmp, int narg, char **arg) :
    Compute(lmp, narg, arg), pair(nullptr), n_members(0), forces(nullptr), energies(nullptr), deviation(nullptr),
    nmax(0)
{
  if (narg != 3) refuse("it has no arguments");
  vector_flag = 1;
  size_vector = 3;
  extvector = 0;
  peratom_flag = 1;
  size_peratom_cols = 2;
  vector = new double[3];
}

ComputeHesspotDeviation::~ComputeHesspotDeviation()
{
  delete[] vector;
  memory->destroy(forces);
  memory->destroy(energies);
  memory->destroy(deviation);
}

void ComputeHesspotDeviation::refuse(const std::string &cause)
{
  error->all(FLERR, std::string("compute ") + id + " of style hesspot/deviation: " + cause);
}

void ComputeHesspotDeviation::find_committee()
{
  if (force->pair && utils::strmatch(force->pair_style, "^hybrid/scaled"))
    refuse("the scale factors of pair_style hybrid/scaled are not known to it; use hybrid or hybrid/overlay");
  const auto pairs = hesspot_pairs(force);
  if (pairs.empty()) refuse("there is no pair_style hesspot; define it first");
  const auto is_committee = [](PairHesspot *one) { return one->n_members() > 1; };
  const auto found = std::count_if(pairs.begin(), pairs.end(), is_committee);
  if (found == 0)
    refuse(
        "the model of pair_style hesspot is no committee, so there are no members to compare; train one with several "
        "members");
  if (found > 1)
    refuse(
        "there are several committees, and no way to match their members; use one pair_style hesspot with a committee");
  pair = *std::find_if(pairs.begin(), pairs.end(), is_committee);
  if (pair->n_members() != n_members) nmax = 0;
  n_members = pair->n_members();
  comm_reverse = 3 * n_members;
}

void ComputeHesspotDeviation::init()
{
  find_committee();
}

void ComputeHesspotDeviation::grow()
{
  if (nmax > 0 && atom->nmax <= nmax) return;
  const int rows = std::max(1, atom->nmax);  // an empty rank has rows to point to as well
  nmax = 0;
  memory->destroy(forces);
  memory->destroy(energies);
  memory->destroy(deviation);
  memory->create(forces, rows, 3 * n_members, "hesspot/deviation:forces");
  memory->create(energies, rows, n_members, "hesspot/deviation:energies");
  memory->create(deviation, rows, 2, "hesspot/deviation:deviation");
  array_atom = deviation;
  nmax = rows;
}

void ComputeHesspotDeviation::compute_peratom()
{
  invoked_peratom = -1;
  find_committee();
  if (!pair->is_ready()) refuse("pair_style hesspot is not set up yet; do a run 0 first");
  grow();
  for (int i = 0; i < atom->nlocal + atom->nghost; i++) std::fill_n(forces[i], 3 * n_members, 0.0);
  for (int i = 0; i < atom->nlocal; i++) std::fill_n(energies[i], n_members, 0.0);
  pair->members(forces, energies);
  comm->reverse_comm(this);
  for (int i = 0; i < atom->nlocal; i++) {
    double sum_of_squares[2] = {0.0, 0.0};
    for (int k = 0; k < 4; k++) {  // three components of the force, and the energy
      const auto value = [&](int member) -> double & {
        return k < 3 ? forces[i][3 * member + k] : energies[i][member];
      };
      double mean = 0.0;
      for (int m = 0; m < n_members; m++) mean += value(m) / n_members;
      for (int m = 0; m < n_members; m++) {
        value(m) -= mean;
        sum_of_squares[k / 3] += value(m) * value(m);
      }
    }
    const bool counts = atom->mask[i] & groupbit;
    for (int n = 0; n < 2; n++) deviation[i][n] = counts ? std::sqrt(sum_of_squares[n] / n_members) : 0.0;
  }
  invoked_peratom = update->ntimestep;
}

void ComputeHesspotDeviation::compute_vector()
{
  if (invoked_peratom != update->ntimestep) compute_peratom();
  double worst = 0.0;
  std::vector<double> mine(static_cast<std::size_t>(n_members) + 2, 0.0), sum(mine);  // energies, force, atoms
  double *const force_and_count = &mine[static_cast<std::size_t>(n_members)];
  for (int i = 0; i < atom->nlocal; i++) {
    if (!(atom->mask[i] & groupbit)) continue;
    worst = std::max(worst, deviation[i][0]);
    for (int m = 0; m < n_members; m++) mine[static_cast<std::size_t>(m)] += energies[i][m];  // less the mean
    force_and_count[0] += deviation[i][0];
    force_and_count[1] += 1.0;
  }
  MPI_Allreduce(&worst, &vector[0], 1, MPI_DOUBLE, MPI_MAX, world);
  MPI_Allreduce(mine.data(), sum.data(), n_members + 2, MPI_DOUBLE, MPI_SUM, world);
  const double n_atoms = std::max(1.0, sum.back());
  vector[1] = sum[static_cast<std::size_t>(n_members)] / n_atoms;
  double squares = 0.0;
  for (int m = 0; m < n_members; m++) squares += sum[static_cast<std::size_t>(m)] * sum[static_cast<std::size_t>(m)];
  vector[2] = std::sqrt(squares / n_members) / n_atoms;
  invoked_vector = update->ntimestep;
}

int ComputeHesspotDeviation::pack_reverse_comm(int n, int first, double *buffer)
{
  for (int i = first; i < first + n; i++, buffer += 3 * n_members) std::copy_n(forces[i], 3 * n_members, buffer);
  return 3 * n_members * n;
}

void ComputeHesspotDeviation::unpack_reverse_comm(int n, int *list, double *buffer)
{
  for (int i = 0; i < n; i++, buffer += 3 * n_members)
    for (int k = 0; k < 3 * n_members; k++) forces[list[i]][k] += buffer[k];
}

double ComputeHesspotDeviation::memory_usage()
{
  return (4.0 * n_members + 2.0) * nmax * sizeof(double);
}
