// SPDX-License-Identifier: MIT
//
// A model that a kernel evaluates, of whatever architecture: what all have in
// common, so that an architecture is its weights and its loops.

#ifndef HESSPOT_KERNEL_MODEL_H
#define HESSPOT_KERNEL_MODEL_H

#include "edges.h"
#include "team.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace hesspot {

/// Names of the instruction sets that this processor has, the best one first,
/// separated by spaces.
const char *instruction_sets();

/// Which of HESSPOT_INSTRUCTION_SETS is used, counted from 0: the best one, or
/// the one that the environment variable HESSPOT_INSTRUCTIONS names.
/// std::runtime_error if that is one that the processor lacks.
std::size_t chosen_instruction_set();

class KernelModel {
public:
  virtual ~KernelModel() = default;
  KernelModel(const KernelModel &) = delete;
  KernelModel &operator=(const KernelModel &) = delete;

  /// 1 if the model is no committee.
  int n_members() const { return n_members_; }

  /// What the packed weights state; none for a model that is not from any.
  const std::vector<std::string> &elements() const { return elements_; }
  double cutoff() const { return cutoff_; } ///< Angstrom
  bool is_single() const { return is_single_; }
  void state(std::vector<std::string> elements, double cutoff, bool is_single);

  /// Name of the instruction set that is used.
  const char *instructions() const { return instructions_.c_str(); }

  /// Threads that share the centres, to the same last bit; 1 at first. Models
  /// share them, too: the calls of two wait for one another. Not while
  /// something is evaluated.
  void set_threads(std::size_t threads);

  /// std::invalid_argument for a species that is no element, and for
  /// first_edge that does not rise from 0. All evaluations call it.
  void check(const Edges &edges) const;

  /// Energies (n_centers) eV, shifts included, and gradient (3 n_edges)
  /// eV/Angstrom; of a committee, the means.
  void evaluate(const Edges &edges, double *energies, double *gradient) const;

  /// Products (3 n_edges) of each centre's Hessian with the directions (3
  /// n_edges) of its edges.
  void hvp(const Edges &edges, const double *directions,
           double *products) const;

  /// The same of each member: energies (n_members, n_centers), gradient
  /// (n_members, 3 n_edges).
  void members(const Edges &edges, double *energies, double *gradient) const;

  /// Numbers that stand for the surroundings of a centre, standardised over the
  /// training data; 0 for a kernel that has none, or not in this precision, and
  /// `descriptors` may not be called then.
  virtual int n_descriptors() const { return 0; }

  /// descriptors (n_centers, n_descriptors)
  void descriptors(const Edges &edges, double *descriptors) const;

  /// Calls take(c, h) for every centre c, one after the other and in the same
  /// order whatever the number of threads: h (3 m, 3 m) are the second
  /// derivatives of its energy with respect to the vectors of its m edges, the
  /// same to the last bit across the diagonal.
  void
  hessians(const Edges &edges,
           const std::function<void(std::size_t, const double *)> &take) const;

  /// What training takes, in double precision. A model has `n_weights` weights
  /// for each member and each element of the centre; 0 if it cannot be trained
  /// here, and nothing below may be called then.
  virtual int n_weights() const { return 0; }

  /// Where weight i of (n_members, n_elements, n_weights) stands in what
  /// set_weights and add_weight_gradient are given; in that order without this
  /// call. std::invalid_argument for a place below zero.
  void place_weights(const std::int64_t *places);

  /// Not while something is evaluated.
  void set_weights(const double *weights);

  /// Of each member: energies (n_members, n_centers), gradient and Hessian
  /// products (n_members, 3 n_edges); energies and gradient may be null,
  /// together.
  void differentiate(const Edges &edges, const double *directions,
                     double *energies, double *gradient,
                     double *products) const;

  /// Adds the derivatives of what `slopes` stand for with respect to the
  /// weights of one member to those of all; to the same last bit whatever the
  /// number of threads.
  void add_weight_gradient(const Edges &edges, int member, LossSlopes slopes,
                           double *gradient) const;

protected:
  /// std::runtime_error if HESSPOT_INSTRUCTIONS names what the processor lacks.
  explicit KernelModel(std::size_t n_elements);

  void set_members(int n_members) { n_members_ = n_members; }

  /// Which of HESSPOT_INSTRUCTION_SETS is used, counted from 0.
  std::size_t instruction_set() const { return instruction_set_; }

private:
  /// The same for some of the centres, on one thread: arrays over centres begin
  /// with theirs, arrays over edges are whole. Energies and gradients of the
  /// members begin `energy_step` and `gradient_step` after those of the one
  /// before.
  virtual void evaluate_part(const Edges &edges, double *energies,
                             double *gradient) const = 0;
  virtual void hvp_part(const Edges &edges, const double *directions,
                        double *products) const = 0;
  virtual void members_part(const Edges &edges, double *energies,
                            std::size_t energy_step, double *gradient,
                            std::size_t gradient_step) const = 0;
  virtual void differentiate_part(const Edges &edges, const double *directions,
                                  double *energies, std::size_t energy_step,
                                  double *gradient, std::size_t gradient_step,
                                  double *products) const = 0;

  virtual void descriptors_part(const Edges &, double *) const {}

  /// How many centres hessians_part takes.
  virtual std::size_t hessians_at_once() const = 0;

  /// Of some centres of one element: hessians[i] of own.centers[i]; edges are
  /// those of all.
  virtual void hessians_part(const Edges &edges, SameCenters own,
                             double *const *hessians) const = 0;

  /// weights (n_members, n_elements, n_weights)
  virtual void assign(const double *weights) = 0;

  /// Sets `sums` to those of some centres of one element; edges and slopes are
  /// those of all.
  virtual void weights_part(const Edges &edges, SameCenters own, int member,
                            LossSlopes slopes, double *sums) const = 0;

  /// Weights that stand one behind the other in both arrangements: from `own`
  /// on in (n_members, n_elements, n_weights), from `place` on in the caller's.
  struct Run {
    std::size_t own, place, size;
  };

  /// Those of one member and element begin with number runs_of_[m, s].
  std::vector<Run> runs_;
  std::vector<std::size_t> runs_of_;

  std::size_t n_elements_;
  std::vector<std::string> elements_;
  double cutoff_ = 0.0;
  bool is_single_ = false;
  int n_members_ = 1;
  std::string instructions_;
  std::size_t instruction_set_;
  std::shared_ptr<Team> team_;
};

} // namespace hesspot

#endif
