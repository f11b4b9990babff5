// SPDX-License-Identifier: GPL-2.0-or-later

#ifndef HESSPOT_PAIR_HESSPOT_H
#define HESSPOT_PAIR_HESSPOT_H

#include "hessian_blocks.h"
#include "lammps_headers.h"
#include "units.h"

#include <hesspot/model.h>

#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace LAMMPS_NS {

/// pair_style hesspot: an exported model as a many-body potential.
///
/// Each rank evaluates its own atoms as centres. The gradient with respect to the edge vectors acts on both ends
/// of an edge; what falls on ghost atoms goes home with LAMMPS's reverse communication, hence newton on.
class PairHesspot : public Pair {
 public:
  explicit PairHesspot(class LAMMPS *);
  ~PairHesspot() override;

  void settings(int, char **) override;
  void coeff(int, char **) override;
  void modify_params(int, char **) override;
  void init_style() override;
  double init_one(int, int) override;
  void compute(int, int) override;
  void *extract(const char *, int &) override;
  void write_restart(FILE *) override;
  void read_restart(FILE *) override;
  void write_restart_settings(FILE *) override;
  void read_restart_settings(FILE *) override;
  double memory_usage() override;

  /// Whether there are a model and the neighbor list for it. New settings or models need the set-up of a run; LAMMPS
  /// hands a list over only where the requests for lists have changed.
  bool is_ready() const { return model && list && is_set_up; }

  // second derivatives of the own centres, in eV and Angstrom
  void hvp(const double *const *, double **);
  void hessian(int, hesspot::HessianBlocks &);
  double curvature_unit() const { return units.curvature(); }  // LAMMPS's, per eV/Angstrom^2

  // a committee's members on the own centres, in LAMMPS's units
  int n_members() const { return model->n_members(); }
  void members(double **, double **);

 private:
  bool is_set_up = false;
  /// Centres with their edges that are evaluated at once, and the LAMMPS atoms that they stand for.
  struct Portion {
    hesspot::EdgeList edges;
    std::vector<int> center_atoms;    // of each centre
    std::vector<int> neighbor_atoms;  // of each edge
    std::vector<double> energies, gradient;

    void clear();
  };

  std::vector<std::string> given_settings;  // arguments of pair_style
  hesspot::Options options;
  bigint max_edges;  // that are evaluated at once
  std::unique_ptr<hesspot::Model> model;
  std::string model_file;                   // from the root
  std::uint64_t model_hash;                 // of the file's content
  std::vector<std::string> symbol_of_type;  // as in pair_coeff, from the first type
  std::vector<int> species_of_type;         // -1: NULL
  double **scale;                           // of the energies of the centers, on its diagonal
  hesspot::Units units;
  bool warned_of_masses;  // of this model
  Portion portion;        // memory that is kept; each calculation begins with none

  std::pair<std::unique_ptr<hesspot::Model>, std::uint64_t> load(std::string &);
  void allocate();
  void check_labels();
  void check_masses();
  void check_scale();
  void check_neighbors();
  bool is_center(int) const;
  bool is_excluded(int) const;
  bool may_lack_neighbors() const;
  std::pair<int, int> lacking_neighbor() const;
  std::string why_lacking(int, int) const;
  double center_scale(int i) const { return scale[atom->type[i]][atom->type[i]]; }
  void for_portions(const std::function<void()> &);
  void add_center(int, double);
  void guarded(const std::function<void()> &);
  void evaluate_portion();
  void add_blocks(int, hesspot::HessianBlocks &);
  void differentiate(const hesspot::EdgeList &, const std::vector<double> &, std::vector<double> &);
  void tally(std::size_t);
  [[noreturn]] void fail(const std::string &);
};

/// All pair styles hesspot, in a hybrid style too.
std::vector<PairHesspot *> hesspot_pairs(class Force *);

}  // namespace LAMMPS_NS

#endif
