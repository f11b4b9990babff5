// SPDX-License-Identifier: GPL-2.0-or-later

#include "pair_hesspot.h"

#include "units.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <thread>

using namespace LAMMPS_NS;

namespace {

/// Two atoms closer than this (Angstrom) are taken for one atom given twice.
constexpr double COINCIDENT = 1e-3;

/// Edges that are evaluated at once unless the input script says otherwise; bounds the memory.
constexpr bigint MAX_EDGES = 20000;

/// For the launcher to forward the last message before MPI_Abort.
constexpr std::chrono::milliseconds TIME_TO_FORWARD(500);

std::string joined(const std::vector<std::string> &words)
{
  std::string text;
  for (const auto &word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

/// The size in bytes that a vector holds.
template <typename T> double held(const std::vector<T> &values)
{
  return static_cast<double>(values.capacity() * sizeof(T));
}

}  // namespace

PairHesspot::PairHesspot(LAMMPS *lmp) : Pair(lmp), max_edges(MAX_EDGES), energy_unit(1.0)
{
  single_enable = 0;
  restartinfo = 0;
  one_coeff = 1;
  manybody_flag = 1;
  no_virial_fdotr_compute = 1;
  centroidstressflag = CENTROID_AVAIL;
}

PairHesspot::~PairHesspot()
{
  if (copymode) return;
  if (allocated) {
    memory->destroy(setflag);
    memory->destroy(cutsq);
  }
}

void PairHesspot::settings(int narg, char **arg)
{
  for (int i = 0; i < narg; i += 2) {
    const std::string keyword = arg[i];
    if (i + 1 == narg) error->all(FLERR, "pair_style hesspot: keyword " + keyword + " needs a value");
    const std::string value = arg[i + 1];
    if (keyword == "precision" && value == "double") {
      options.precision = hesspot::Precision::Double;
    } else if (keyword == "precision" && value == "single") {
      options.precision = hesspot::Precision::Single;
    } else if (keyword == "precision") {
      error->all(FLERR, "pair_style hesspot: precision " + value + " is not known; use double or single");
    } else if (keyword == "backend" && value == "auto") {
      options.backend = hesspot::Backend::Automatic;
    } else if (keyword == "backend" && value == "torchscript") {
      options.backend = hesspot::Backend::TorchScript;
    } else if (keyword == "backend" && value == "kernel") {
      options.backend = hesspot::Backend::Kernel;
    } else if (keyword == "backend") {
      error->all(FLERR, "pair_style hesspot: backend " + value + " is not known; use auto, torchscript or kernel");
    } else if (keyword == "threads") {
      options.threads = utils::inumeric(FLERR, value, false, lmp);
      if (options.threads < 1) error->all(FLERR, "pair_style hesspot: threads " + value + " must be 1 or more");
    } else if (keyword == "max_edges") {
      max_edges = utils::bnumeric(FLERR, value, false, lmp);
      if (max_edges < 1) error->all(FLERR, "pair_style hesspot: max_edges " + value + " must be 1 or more");
    } else {
      error->all(FLERR, "pair_style hesspot: keyword " + keyword +
                            " is not known; use precision, backend, threads or max_edges");
    }
  }
}

void PairHesspot::allocate()
{
  const int n = atom->ntypes;
  memory->create(setflag, n + 1, n + 1, "pair:setflag");
  memory->create(cutsq, n + 1, n + 1, "pair:cutsq");
  allocated = 1;
}

/// One rank reads the file and sends it to the others; all ranks end together if it cannot be used on any.
void PairHesspot::load(const std::string &path)
{
  std::string content, problem;
  bigint size = 0;
  if (comm->me == 0) {
    try {
      content = hesspot::read_file(path);
    } catch (const hesspot::ModelError &exception) {
      problem = exception.what();
    }
    size = problem.empty() ? static_cast<bigint>(content.size()) : -1;
  }
  MPI_Bcast(&size, 1, MPI_LMP_BIGINT, 0, world);
  if (size > MAXSMALLINT) {
    problem = "model file " + path + " is larger than 2 GiB, which cannot be sent to the ranks";
  } else if (size >= 0) {
    content.resize(static_cast<std::size_t>(size));
    MPI_Bcast(content.data(), static_cast<int>(size), MPI_BYTE, 0, world);
    try {
      model = hesspot::load_model_content(content, path, options);
    } catch (const std::exception &exception) {
      problem = exception.what();
    }
  }
  struct {
    int fine, rank;
  } mine = {problem.empty() ? 1 : 0, comm->me}, worst;
  MPI_Allreduce(&mine, &worst, 1, MPI_2INT, MPI_MINLOC, world);
  if (worst.fine) return;
  int length = static_cast<int>(problem.size());
  MPI_Bcast(&length, 1, MPI_INT, worst.rank, world);
  problem.resize(static_cast<std::size_t>(length));
  MPI_Bcast(problem.data(), length, MPI_CHAR, worst.rank, world);
  error->all(FLERR, "pair_style hesspot: " + problem);
}

void PairHesspot::coeff(int narg, char **arg)
{
  const int ntypes = atom->ntypes;
  if (narg < 3)
    error->all(FLERR, "pair_coeff of pair_style hesspot: the model file is missing; write \"pair_coeff * * MODEL.pt "
                      "ELEMENT ...\", with one element or NULL per atom type");
  if (narg - 3 != ntypes)
    error->all(FLERR, "pair_coeff of pair_style hesspot: " + std::to_string(narg - 3) + " elements for " +
                          std::to_string(ntypes) + " atom types; name one element, or NULL, per atom type");
  if (!allocated) allocate();
  load(arg[2]);

  const auto &known = model->elements();
  species_of_type.assign(static_cast<std::size_t>(ntypes) + 1, -1);
  for (int type = 1; type <= ntypes; type++) {
    const std::string element = arg[2 + type];
    if (element == "NULL") continue;
    const auto found = std::find(known.begin(), known.end(), element);
    if (found == known.end())
      error->all(FLERR, "pair_coeff of pair_style hesspot: element " + element + " of atom type " +
                            std::to_string(type) + " is not in model " + arg[2] + ", which has " + joined(known) +
                            "; train a model with " + element + ", or write NULL for a type to be ignored");
    species_of_type[static_cast<std::size_t>(type)] = static_cast<int>(found - known.begin());
  }
  // LAMMPS wants all pairs of types set, a hybrid style only those that it shall give to this one
  const bool in_hybrid = force->pair != this;
  bool any = false;
  for (int i = 1; i <= ntypes; i++)
    for (int j = 1; j <= ntypes; j++) {
      const bool both = species_of_type[i] >= 0 && species_of_type[j] >= 0;
      setflag[i][j] = both || !in_hybrid;
      any = any || both;
    }
  if (!any) error->all(FLERR, "pair_coeff of pair_style hesspot: all atom types are NULL; name at least one element");
}

void PairHesspot::init_style()
{
  check_environment();
  neighbor->add_request(this, NeighConst::REQ_FULL);
}

void PairHesspot::check_environment()
{
  const auto unit = hesspot::energy_per_ev(update->unit_style);
  if (!unit)
    error->all(FLERR, std::string("pair_style hesspot: units ") + update->unit_style +
                          " are not supported; use units metal or real");
  energy_unit = *unit;
  if (!force->newton_pair)
    error->all(FLERR, "pair_style hesspot: newton off is not supported, because forces on ghost atoms have to be sent "
                      "to their owners; use newton on");
  if (!atom->tag_enable) error->all(FLERR, "pair_style hesspot needs atom IDs; use atom_modify id yes");
  if (atom->molecular != Atom::ATOMIC && atom->nbonds > 0)
    for (int k = 1; k <= 3; k++)
      if (force->special_lj[k] == 0.0 && force->special_coul[k] == 0.0)
        error->all(FLERR, "pair_style hesspot: special_bonds removes bonded neighbors from the neighbor list, but the "
                          "model needs all of them; use special_bonds lj/coul 1 1 1");
}

double PairHesspot::init_one(int, int)
{
  return model->cutoff();
}

void PairHesspot::compute(int eflag, int vflag)
{
  ev_init(eflag, vflag);
  const double cutoff_squared = model->cutoff() * model->cutoff();
  for (int ii = 0; ii < list->inum; ii++) {
    const int i = list->ilist[ii];
    if (species_of_type[atom->type[i]] < 0) continue;
    const auto after = static_cast<bigint>(portion.edges.n_edges()) + list->numneigh[i];
    if (after > max_edges && portion.edges.n_centers() > 0) evaluate_portion();
    add_center(i, cutoff_squared);
  }
  if (portion.edges.n_centers() > 0) evaluate_portion();
}

void PairHesspot::add_center(int i, double cutoff_squared)
{
  const double *const *const x = atom->x;
  const int *const neighbors = list->firstneigh[i];
  portion.edges.add_center(species_of_type[atom->type[i]]);
  portion.center_atoms.push_back(i);
  for (int jj = 0; jj < list->numneigh[i]; jj++) {
    const int j = neighbors[jj] & NEIGHMASK;
    const int species = species_of_type[atom->type[j]];
    if (species < 0) continue;
    const double dx = x[j][0] - x[i][0];
    const double dy = x[j][1] - x[i][1];
    const double dz = x[j][2] - x[i][2];
    const double r_squared = dx * dx + dy * dy + dz * dz;
    if (r_squared >= cutoff_squared) continue;
    if (r_squared < COINCIDENT * COINCIDENT)
      fail("atoms " + std::to_string(atom->tag[i]) + " and " + std::to_string(atom->tag[j]) +
           " are on one place; remove one of them");
    portion.edges.add_edge(species, dx, dy, dz);
    portion.neighbor_atoms.push_back(j);
  }
}

/// Energies and forces of the centres that were collected; leaves the portion empty.
void PairHesspot::evaluate_portion()
{
  auto &[edges, center_atoms, neighbor_atoms, energies, gradient] = portion;
  try {
    model->evaluate(edges, energies, gradient);
  } catch (const std::exception &exception) {
    fail(exception.what());
  }

  for (std::size_t c = 0; c < energies.size(); c++) {
    const double energy = energy_unit * energies[c];
    if (!std::isfinite(energy))
      fail("the energy of atom " + std::to_string(atom->tag[center_atoms[c]]) +
           " is not a finite number; check the structure, or use a smaller timestep");
    if (eflag_global) eng_vdwl += energy;
    if (eflag_atom) eatom[center_atoms[c]] += energy;
  }

  double **const f = atom->f;
  for (std::size_t e = 0; e < edges.n_edges(); e++) {
    const int i = center_atoms[edges.centers[e]];
    const int j = neighbor_atoms[e];
    double *const g = &gradient[3 * e];
    for (int k = 0; k < 3; k++) {
      g[k] *= energy_unit;
      f[i][k] += g[k];
      f[j][k] -= g[k];
    }
    if (!std::isfinite(g[0] + g[1] + g[2]))
      fail("the force between atoms " + std::to_string(atom->tag[i]) + " and " + std::to_string(atom->tag[j]) +
           " is not a finite number; check the structure, or use a smaller timestep");
    if (vflag_either) tally(e);
  }

  edges.clear();
  center_atoms.clear();
  neighbor_atoms.clear();
}

/// Virial of one edge, -v (x) g, attributed to the neighbor: the centroid form, which gives the heat flux of a
/// many-body potential (Fan et al., Phys. Rev. B 92, 094301, 2015). Six components where it is symmetrised.
void PairHesspot::tally(std::size_t edge)
{
  const double *const v = &portion.edges.vectors[3 * edge];
  const double *const g = &portion.gradient[3 * edge];
  const int j = portion.neighbor_atoms[edge];
  // LAMMPS's order: xx yy zz xy xz yz yx zx zy
  const double w[9] = {-v[0] * g[0], -v[1] * g[1], -v[2] * g[2], -v[0] * g[1], -v[0] * g[2],
                       -v[1] * g[2], -v[1] * g[0], -v[2] * g[0], -v[2] * g[1]};
  const double symmetric[6] = {w[0], w[1], w[2], 0.5 * (w[3] + w[6]), 0.5 * (w[4] + w[7]), 0.5 * (w[5] + w[8])};
  if (vflag_global)
    for (int k = 0; k < 6; k++) virial[k] += symmetric[k];
  if (vflag_atom)
    for (int k = 0; k < 6; k++) vatom[j][k] += symmetric[k];
  if (cvflag_atom)
    for (int k = 0; k < 9; k++) cvatom[j][k] += w[k];
}

/// Ends the run on all ranks. What LAMMPS does next is MPI_Abort, at which a launcher may drop output that it has not
/// read yet, the message among it: so it is given a moment.
void PairHesspot::fail(const std::string &cause)
{
  try {
    error->one(FLERR, "pair_style hesspot: rank " + std::to_string(comm->me) + ", step " +
                          std::to_string(update->ntimestep) + ", " + std::to_string(atom->nlocal) + " atoms: " + cause);
  } catch (...) {
    std::fflush(nullptr);
    std::this_thread::sleep_for(TIME_TO_FORWARD);
    throw;
  }
}

double PairHesspot::memory_usage()
{
  const auto &[edges, center_atoms, neighbor_atoms, energies, gradient] = portion;
  return Pair::memory_usage() + held(edges.species) + held(edges.centers) + held(edges.neighbor_species) +
         held(edges.vectors) + held(center_atoms) + held(neighbor_atoms) + held(energies) + held(gradient);
}
