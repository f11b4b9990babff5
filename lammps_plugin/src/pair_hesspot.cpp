// SPDX-License-Identifier: GPL-2.0-or-later

#include "pair_hesspot.h"

#include "archive.h"
#include "constants.h"
#include "register.h"
#include "words.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <new>
#include <optional>
#include <thread>

using namespace LAMMPS_NS;

namespace {

/// Edges that are evaluated at once unless the input script says otherwise; bounds the memory. Small portions leave a
/// GPU idle.
constexpr bigint MAX_EDGES = 20000, MAX_EDGES_ON_A_GPU = 1000000;

const std::string MORE_MEMORY = "use a smaller max_edges, or fewer ranks on a node";

/// No node has more processors; a larger number of threads is a slip.
constexpr bigint MAX_THREADS = 4096;

/// For the launcher to forward the last message before MPI_Abort.
constexpr std::chrono::milliseconds TIME_TO_FORWARD(500);

/// FNV-1a, to tell whether a file is the one of a restart.
std::uint64_t hash_of(const std::string &content)
{
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const unsigned char byte : content) hash = (hash ^ byte) * 0x100000001b3;
  return hash;
}

/// The GPU for this rank: those of a node are dealt out to the ranks on it.
std::string cuda_device(MPI_Comm world)
{
  MPI_Comm node;
  int rank_on_node;
  MPI_Comm_split_type(world, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
  MPI_Comm_rank(node, &rank_on_node);
  MPI_Comm_free(&node);
  const int devices = hesspot::n_cuda_devices();
  if (devices == 0)
    throw hesspot::ModelError("device cuda: torch finds no GPU on this node; use device cpu, or a torch for CUDA on a "
                              "node with a GPU");
  return "cuda:" + std::to_string(rank_on_node % devices);
}

/// The size in bytes that a vector holds.
template <typename T> double held(const std::vector<T> &values)
{
  return static_cast<double>(values.capacity() * sizeof(T));
}

const hesspot::PairStyle<PairHesspot> style("hesspot", "Hessian-informed potentials");

}  // namespace

PairHesspot::PairHesspot(LAMMPS *lmp) :
    Pair(lmp), max_edges(MAX_EDGES), model_hash(0), scale(nullptr), warned_of_masses(false)
{
  single_enable = 0;
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
    memory->destroy(scale);
  }
}

/// Nothing changes if an argument is refused. After new settings the model has to be read again, so pair_coeff is
/// needed again.
void PairHesspot::settings(int narg, char **arg)
{
  hesspot::Options new_options;
  std::optional<bigint> new_max_edges;
  std::vector<std::string> keywords;
  for (int i = 0; i < narg; i += 2) {
    const std::string keyword = arg[i];
    if (i + 1 == narg) error->all(FLERR, "pair_style hesspot: keyword " + keyword + " needs a value");
    if (std::find(keywords.begin(), keywords.end(), keyword) != keywords.end())
      error->all(FLERR, "pair_style hesspot: keyword " + keyword + " is there twice; leave one of them out");
    keywords.push_back(keyword);
    const std::string value = arg[i + 1];
    const auto choice = [&](const std::vector<std::string> &choices) {
      const auto found = std::find(choices.begin(), choices.end(), value);
      if (found == choices.end())
        error->all(FLERR, "pair_style hesspot: " + keyword + " " + value + " is not known; use one of " +
                              hesspot::joined(choices));
      return found - choices.begin();
    };
    const auto count = [&](bigint largest) {
      const auto number = hesspot::count_of(value, largest);
      if (!number)
        error->all(FLERR, "pair_style hesspot: " + keyword + " " + value + " must be a whole number from 1 to " +
                              std::to_string(largest));
      return *number;
    };
    if (keyword == "precision") {
      new_options.precision =
          choice({"double", "single"}) == 0 ? hesspot::Precision::Double : hesspot::Precision::Single;
    } else if (keyword == "backend") {
      constexpr hesspot::Backend BACKENDS[] = {hesspot::Backend::Automatic, hesspot::Backend::TorchScript,
                                               hesspot::Backend::Kernel};
      new_options.backend = BACKENDS[choice({"auto", "torchscript", "kernel"})];
    } else if (keyword == "device") {
      new_options.device = choice({"cpu", "cuda"}) == 0 ? "cpu" : "cuda";
    } else if (keyword == "verify") {
      new_options.verify = choice({"no", "yes"}) == 1;
    } else if (keyword == "threads") {
      new_options.threads = static_cast<int>(count(MAX_THREADS));
    } else if (keyword == "max_edges") {
      new_max_edges = count(MAXBIGINT);
    } else {
      error->all(FLERR, "pair_style hesspot: keyword " + keyword +
                            " is not known; use precision, backend, device, verify, threads or max_edges");
    }
  }
  options = new_options;
  max_edges = new_max_edges.value_or(options.device == "cuda" ? MAX_EDGES_ON_A_GPU : MAX_EDGES);
  given_settings.assign(arg, arg + narg);
  model.reset();
  is_set_up = false;
  if (!allocated) return;
  for (int i = 1; i <= atom->ntypes; i++)
    for (int j = 1; j <= atom->ntypes; j++) setflag[i][j] = 0;
}

void PairHesspot::allocate()
{
  const int n = atom->ntypes;
  memory->create(setflag, n + 1, n + 1, "pair:setflag");
  memory->create(cutsq, n + 1, n + 1, "pair:cutsq");
  memory->create(scale, n + 1, n + 1, "pair:scale");
  for (int i = 0; i <= n; i++)
    for (int j = 0; j <= n; j++) {
      setflag[i][j] = 0;
      scale[i][j] = 1.0;
    }
  allocated = 1;
}

/// One rank reads the file and sends it to the others; all ranks end together if it cannot be used on any. `path`
/// becomes that of the file if it is shipped:NAME.
std::pair<std::unique_ptr<hesspot::Model>, std::uint64_t> PairHesspot::load(std::string &path)
{
  std::string content, problem;
  if (comm->me == 0) {
    try {
      path = hesspot::path_of(path);
      content = hesspot::read_file(path);
    } catch (const std::exception &exception) {
      problem = exception.what();
    }
    if (content.size() > static_cast<std::size_t>(MAXSMALLINT))
      problem = "model file " + path + " is larger than 2 GiB, which cannot be sent to the ranks";
  }
  problem = hesspot::broadcast(problem, 0, world);
  if (!problem.empty()) error->all(FLERR, "pair_style hesspot: " + problem);

  path = hesspot::broadcast(path, 0, world);
  content = hesspot::broadcast(std::move(content), 0, world);
  const auto hash = hash_of(content);
  std::unique_ptr<hesspot::Model> loaded;
  try {
    auto for_this_rank = options;
    if (options.device == "cuda") for_this_rank.device = cuda_device(world);
    loaded = hesspot::load_model_content(std::move(content), path, for_this_rank);
  } catch (const std::exception &exception) {
    problem = exception.what();
  }
  struct {
    int fine, rank;
  } mine = {problem.empty() ? 1 : 0, comm->me}, worst;
  int n_fine;
  MPI_Allreduce(&mine, &worst, 1, MPI_2INT, MPI_MINLOC, world);
  MPI_Allreduce(&mine.fine, &n_fine, 1, MPI_INT, MPI_SUM, world);
  if (!worst.fine) {
    if (n_fine > 0) problem += " (on rank " + std::to_string(worst.rank) + ", and not on all ranks)";
    error->all(FLERR, "pair_style hesspot: " + hesspot::broadcast(problem, worst.rank, world));
  }
  if (comm->me == 0) utils::logmesg(lmp, "pair_style hesspot: {}\n", loaded->describe());
  return {std::move(loaded), hash};
}

/// Nothing changes if an argument is refused.
void PairHesspot::coeff(int narg, char **arg)
{
  const int ntypes = atom->ntypes;
  if (narg < 3)
    error->all(FLERR, "pair_coeff of pair_style hesspot: the model file is missing; write \"pair_coeff * * MODEL.pt "
                      "ELEMENT ...\", with one element or NULL per atom type");
  if (narg - 3 != ntypes)
    error->all(FLERR, "pair_coeff of pair_style hesspot: " + std::to_string(narg - 3) + " elements for " +
                          std::to_string(ntypes) + " atom types; name one element, or NULL, per atom type");
  std::string path = arg[2];
  auto [new_model, new_hash] = load(path);

  const auto &known = new_model->elements();
  std::vector<int> new_species(static_cast<std::size_t>(ntypes) + 1, -1);
  bool any = false;
  for (int type = 1; type <= ntypes; type++) {
    const std::string element = arg[2 + type];
    if (element == "NULL") continue;
    const auto found = std::find(known.begin(), known.end(), element);
    if (found == known.end())
      error->all(FLERR, "pair_coeff of pair_style hesspot: element " + element + " of atom type " +
                            std::to_string(type) + " is not in model " + path + ", which has " +
                            hesspot::joined(known) + "; train a model with " + element +
                            ", or write NULL for a type to be ignored");
    new_species[static_cast<std::size_t>(type)] = static_cast<int>(found - known.begin());
    any = true;
  }
  if (!any) error->all(FLERR, "pair_coeff of pair_style hesspot: all atom types are NULL; name at least one element");

  model = std::move(new_model);
  model_hash = new_hash;
  std::error_code no_folder;  // any more, of this process
  model_file = std::filesystem::absolute(path, no_folder).lexically_normal().string();
  if (no_folder) model_file = path;
  symbol_of_type.assign(arg + 3, arg + narg);
  species_of_type = std::move(new_species);
  warned_of_masses = false;
  is_set_up = false;
  if (!allocated) allocate();
  // LAMMPS wants all pairs of types set, a hybrid style only those that it shall give to this one
  const bool in_hybrid = force->pair != this;
  for (int i = 1; i <= ntypes; i++)
    for (int j = 1; j <= ntypes; j++)
      setflag[i][j] = !in_hybrid || (species_of_type[i] >= 0 && species_of_type[j] >= 0);
}

/// Settings of pair potentials that would have no effect are refused. In a hybrid style they may be meant for others.
void PairHesspot::modify_params(int narg, char **arg)
{
  const std::vector<std::string> useless = {"mix", "shift", "tail", "table", "table/disp", "tabinner", "tabinner/disp"};
  for (int i = 0; i < narg; i++) {
    const std::string keyword = arg[i];
    if (std::find(useless.begin(), useless.end(), keyword) == useless.end()) continue;
    const std::string value = i + 1 < narg ? arg[++i] : "";
    if ((keyword == "shift" || keyword == "tail") && value == "no") continue;
    const std::string setting = "pair_modify " + keyword + " " + value;
    if (force->pair == this)
      error->all(FLERR, "pair_style hesspot: " + setting + " would have no effect on a many-body model; leave it out");
    if (comm->me == 0)
      error->warning(FLERR,
                     "pair_style hesspot: " + setting + " has no effect on it, but on the other sub-styles only");
  }
  Pair::modify_params(narg, arg);
}

void PairHesspot::init_style()
{
  if (!model) error->all(FLERR, "pair_style hesspot has no model; write pair_coeff after pair_style");
  const auto known = hesspot::units_of(update->unit_style);
  if (!known)
    error->all(FLERR, std::string("pair_style hesspot: units ") + update->unit_style +
                          " are not supported, because they do not say how long an Angstrom is; use units metal, real, "
                          "si or electron");
  units = *known;
  if (!force->newton_pair)
    error->all(FLERR, "pair_style hesspot: newton off is not supported, because forces on ghost atoms have to be sent "
                      "to their owners; use newton on");
  if (!atom->tag_enable) error->all(FLERR, "pair_style hesspot needs atom IDs; use atom_modify id yes");
  check_labels();
  check_masses();
  const bool apart = std::find(neighbor->ex_mol_intra, neighbor->ex_mol_intra + neighbor->nex_mol, 0) !=
                     neighbor->ex_mol_intra + neighbor->nex_mol;
  if (apart && comm->me == 0)
    error->warning(FLERR,
                   "pair_style hesspot: by neigh_modify exclude molecule/inter, molecules do not see each other");
  neighbor->add_request(this, NeighConst::REQ_FULL);
  is_set_up = true;
}

double PairHesspot::init_one(int, int)
{
  return units.length * model->cutoff();
}

void PairHesspot::compute(int eflag, int vflag)
{
  ev_init(eflag, vflag);
  if (!is_ready())
    error->all(FLERR, "pair_style hesspot: settings or model have changed since the last set-up; run without pre no");
  check_scale();
  if (neighbor->ago == 0) check_neighbors();
  guarded([&] { for_portions([this] { evaluate_portion(); }); });
}

/// Collects the own centres in portions of at most max_edges edges, and calls `evaluate` for each.
void PairHesspot::for_portions(const std::function<void()> &evaluate)
{
  const double cutoff_squared = model->cutoff() * model->cutoff();
  portion.clear();
  for (int ii = 0; ii < list->inum; ii++) {
    const int i = list->ilist[ii];
    if (!is_center(i)) continue;
    if (static_cast<bigint>(portion.edges.n_edges()) + list->numneigh[i] > max_edges && !portion.center_atoms.empty()) {
      evaluate();
      portion.clear();
    }
    add_center(i, cutoff_squared);
  }
  if (!portion.center_atoms.empty()) evaluate();
}

void PairHesspot::Portion::clear()
{
  edges.clear();
  center_atoms.clear();
  neighbor_atoms.clear();
}

/// Whatever is thrown ends the run in words.
void PairHesspot::guarded(const std::function<void()> &work)
{
  try {
    work();
  } catch (const LAMMPSException &) {
    throw;
  } catch (const std::bad_alloc &) {
    fail("the memory is used up; " + MORE_MEMORY);
  } catch (const std::exception &exception) {
    const std::string cause = exception.what();
    const bool memory_used_up = cause.find("allocate memory") != std::string::npos;
    fail(memory_used_up ? cause + "; " + MORE_MEMORY : cause);
  }
}

/// The energy of a center is scaled by the entry of its own type; an entry of two types that differs from those of
/// both cannot be meant so.
void PairHesspot::check_scale()
{
  for (int i = 1; i <= atom->ntypes; i++)
    for (int j = i + 1; j <= atom->ntypes; j++)
      if (scale[i][j] != scale[i][i] && scale[i][j] != scale[j][j])
        error->all(FLERR, "pair_style hesspot: scale of atom types " + std::to_string(i) + " and " + std::to_string(j) +
                              ", but there is no energy of a pair of types; scale * *, or a type with itself");
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
    const double dx = (x[j][0] - x[i][0]) / units.length;
    const double dy = (x[j][1] - x[i][1]) / units.length;
    const double dz = (x[j][2] - x[i][2]) / units.length;
    const double r_squared = dx * dx + dy * dy + dz * dz;
    if (r_squared >= cutoff_squared) continue;
    if (r_squared < hesspot::COINCIDENT * hesspot::COINCIDENT)
      fail("atoms " + std::to_string(atom->tag[i]) + " and " + std::to_string(atom->tag[j]) +
           " are on one place; remove one of them");
    portion.edges.add_edge(species, dx, dy, dz);
    portion.neighbor_atoms.push_back(j);
  }
}

/// Energies and forces of the centres that were collected.
void PairHesspot::evaluate_portion()
{
  auto &[edges, center_atoms, neighbor_atoms, energies, gradient] = portion;
  model->evaluate(edges, energies, gradient);

  for (std::size_t c = 0; c < energies.size(); c++) {
    const double energy = units.energy * center_scale(center_atoms[c]) * energies[c];
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
    const double scale_of_center = center_scale(i);
    for (int k = 0; k < 3; k++) {
      g[k] *= scale_of_center;
      f[i][k] += units.force() * g[k];
      f[j][k] -= units.force() * g[k];
    }
    if (!std::isfinite(g[0] + g[1] + g[2]))
      fail("the force between atoms " + std::to_string(atom->tag[i]) + " and " + std::to_string(atom->tag[j]) +
           " is not a finite number; check the structure, or use a smaller timestep");
    if (vflag_either) tally(e);
  }
}

/// Virial of one edge, -v (x) g, attributed to the neighbor: the centroid form, which gives the heat flux of a
/// many-body potential (Fan et al., Phys. Rev. B 92, 094301, 2015). Six components where it is symmetrised.
void PairHesspot::tally(std::size_t edge)
{
  const double *const v = &portion.edges.vectors[3 * edge];
  const double *const g = &portion.gradient[3 * edge];
  const int j = portion.neighbor_atoms[edge];
  // LAMMPS's order: xx yy zz xy xz yz yx zx zy
  double w[9] = {-v[0] * g[0], -v[1] * g[1], -v[2] * g[2], -v[0] * g[1], -v[0] * g[2],
                 -v[1] * g[2], -v[1] * g[0], -v[2] * g[0], -v[2] * g[1]};
  for (double &component : w) component *= units.energy;
  const double symmetric[6] = {w[0], w[1], w[2], 0.5 * (w[3] + w[6]), 0.5 * (w[4] + w[7]), 0.5 * (w[5] + w[8])};
  if (vflag_global)
    for (int k = 0; k < 6; k++) virial[k] += symmetric[k];
  if (vflag_atom)
    for (int k = 0; k < 6; k++) vatom[j][k] += symmetric[k];
  if (cvflag_atom)
    for (int k = 0; k < 9; k++) cvatom[j][k] += w[k];
}

/// Ends the run on all ranks. With several, what LAMMPS does next is MPI_Abort, at which a launcher may drop output
/// that it has not read yet, the message among it: so it is given a moment. One rank ends by itself.
void PairHesspot::fail(const std::string &cause)
{
  const std::string message = "pair_style hesspot: rank " + std::to_string(comm->me) + ", step " +
                              std::to_string(update->ntimestep) + ", " + std::to_string(atom->nlocal) +
                              " atoms: " + cause;
  if (universe->nprocs == 1) error->all(FLERR, message);
  try {
    error->one(FLERR, message);
  } catch (...) {
    std::fflush(nullptr);
    std::this_thread::sleep_for(TIME_TO_FORWARD);
    throw;
  }
}

void *PairHesspot::extract(const char *name, int &dim)
{
  dim = 2;
  return std::string(name) == "scale" ? scale : nullptr;
}

/// The settings, and the arguments of pair_coeff with the hash of the file's content.
void PairHesspot::write_restart(FILE *file)
{
  write_restart_settings(file);
  hesspot::write_text(file, model_file);
  hesspot::write_text(file, std::to_string(model_hash));
  hesspot::write_text(file, hesspot::joined(symbol_of_type));
}

/// A file that is gone or has changed is no error yet: the input script may name another one with pair_coeff.
void PairHesspot::read_restart(FILE *file)
{
  read_restart_settings(file);
  allocate();
  const std::string path = hesspot::read_text(file, lmp), hash = hesspot::read_text(file, lmp);
  const auto symbols = utils::split_words(hesspot::read_text(file, lmp));
  int same = 0;
  if (comm->me == 0) {
    try {
      same = std::to_string(hash_of(hesspot::read_file(path))) == hash;
    } catch (const std::exception &) {
    }
    if (!same)
      error->warning(FLERR, "pair_style hesspot: model file " + path +
                                " of the restart is not there any more or has changed; give one with pair_coeff");
  }
  MPI_Bcast(&same, 1, MPI_INT, 0, world);
  if (!same) return;
  std::vector<std::string> words{"*", "*", path};
  words.insert(words.end(), symbols.begin(), symbols.end());
  auto arguments = hesspot::arguments_of(words);
  coeff(static_cast<int>(arguments.size()), arguments.data());
}

void PairHesspot::write_restart_settings(FILE *file)
{
  hesspot::write_text(file, hesspot::joined(given_settings));
}

void PairHesspot::read_restart_settings(FILE *file)
{
  auto words = utils::split_words(hesspot::read_text(file, lmp));
  auto arguments = hesspot::arguments_of(words);
  settings(static_cast<int>(arguments.size()), arguments.data());
}

double PairHesspot::memory_usage()
{
  const auto &[edges, center_atoms, neighbor_atoms, energies, gradient] = portion;
  return Pair::memory_usage() + held(edges.species) + held(edges.centers) + held(edges.neighbor_species) +
         held(edges.vectors) + held(center_atoms) + held(neighbor_atoms) + held(energies) + held(gradient);
}

std::vector<PairHesspot *> LAMMPS_NS::hesspot_pairs(Force *force)
{
  if (auto *const single = dynamic_cast<PairHesspot *>(force->pair)) return {single};
  std::vector<PairHesspot *> pairs;
  for (int n = 1;; n++) {
    auto *const next = dynamic_cast<PairHesspot *>(force->pair_match("hesspot", 1, n));
    if (!next || (!pairs.empty() && next == pairs.back())) return pairs;
    pairs.push_back(next);
  }
}
