// SPDX-License-Identifier: GPL-2.0-or-later
//
// Exported hesspot models from C++: energies, their gradient and Hessian products, from edge vectors.
// Needs no header of torch or of LAMMPS. Units: eV and Angstrom.

#ifndef HESSPOT_MODEL_H
#define HESSPOT_MODEL_H

#include "model_error.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace hesspot {

/// Floating-point type of the weights and of the edge vectors; energies are summed in double either way.
enum class Precision { Double, Single };

/// What evaluates the model: its TorchScript, which every file has; a kernel, which is many times faster and runs on
/// the CPU; or the kernel where the model has one.
enum class Backend { Automatic, TorchScript, Kernel };

struct Options {
  Backend backend = Backend::Automatic;
  Precision precision = Precision::Double;
  std::string device = "cpu";  ///< as torch names it: "cpu", "cuda:0", ...
  int threads = 1;             ///< that share the centres; with TorchScript, inside one operation of torch
  bool verify = false;         ///< replay the fingerprint in the file; ModelError if the answers deviate
};

/// Centres, and the edges from each of them to its neighbours within the cutoff.
///
/// Edges are appended to the centre that was appended last. A neighbour is known by its species and by
/// its vector alone: that is all that the energy of a centre depends on.
struct EdgeList {
  std::vector<std::int64_t> species;           ///< of each centre, index into Model::elements()
  std::vector<std::int64_t> centers;           ///< of each edge, index into `species`
  std::vector<std::int64_t> neighbor_species;  ///< of each edge, index into Model::elements()
  std::vector<double> vectors;                 ///< of each edge, 3: neighbour - centre, Angstrom

  std::size_t n_centers() const { return species.size(); }
  std::size_t n_edges() const { return centers.size(); }

  void clear();
  void add_center(int center_species);
  void add_edge(int neighbor, double dx, double dy, double dz);
};

/// A strictly local potential, or a committee of them, whose energy is the mean of its members'. An instance is used
/// by one thread at a time.
class Model {
 public:
  Model(std::vector<std::string> elements, double cutoff, int n_members) :
      elements_(std::move(elements)), cutoff_(cutoff), n_members_(n_members)
  {
  }
  virtual ~Model() = default;
  Model(const Model &) = delete;
  Model &operator=(const Model &) = delete;

  const std::vector<std::string> &elements() const { return elements_; }
  double cutoff() const { return cutoff_; }
  int n_members() const { return n_members_; }  ///< 1: no committee

  /// What runs, in one line: file, hash, elements, cutoff, precision, and kernel or TorchScript.
  const std::string &describe() const { return description_; }

  /// The instruction set that the kernel uses; empty for TorchScript.
  virtual std::string instructions() const { return {}; }

  /// Energy of each centre (n_centers, eV) and g = dE/dvectors (3 n_edges, eV/Angstrom).
  /// Memory grows with the number of edges: give large systems in portions of their centres.
  virtual void evaluate(const EdgeList &edges, std::vector<double> &energies, std::vector<double> &gradient) = 0;

  /// h = d(sum g.u)/dvectors (3 n_edges, eV/Angstrom^2 times the unit of u), with u the difference of the
  /// direction, neighbour - centre, along each edge (3 n_edges). (Hv) of an atom is the sum of h over the
  /// edges that end at it minus the sum over the edges that start from it.
  virtual void hvp(const EdgeList &edges, const std::vector<double> &directions, std::vector<double> &products) = 0;

  /// As evaluate, of each member of a committee: energies (n_members, n_centers), gradient (n_members, 3 n_edges).
  virtual void members(const EdgeList &edges, std::vector<double> &energies, std::vector<double> &gradient) = 0;

 private:
  std::vector<std::string> elements_;
  double cutoff_;
  int n_members_;
  std::string description_;

  friend std::unique_ptr<Model> load_model_content(std::string, const std::string &, const Options &);
};

/// GPUs that torch can use in this process. ModelError if there is no TorchScript backend.
int n_cuda_devices();

/// The file that `name` means: a path, or shipped:NAME. ModelError for a name that stands for nothing here.
std::string path_of(const std::string &name);

/// Reads the file at `path`; the kernel runs none of the file's code, TorchScript is a program. ModelError if it is
/// missing, is no hesspot model, is damaged or changed, or has a newer format.
std::unique_ptr<Model> load_model(const std::string &path, const Options &options = {});

/// As load_model, from the content of a file, for one rank to read and to send to the others.
/// `name` stands for the file in messages.
std::unique_ptr<Model> load_model_content(std::string content, const std::string &name, const Options &options);

}  // namespace hesspot

#endif
