// SPDX-License-Identifier: GPL-2.0-or-later

#ifndef HESSPOT_COMPUTE_HESSPOT_HVP_H
#define HESSPOT_COMPUTE_HESSPOT_HVP_H

#include "hessian_blocks.h"
#include "lammps_headers.h"

#include <string>
#include <vector>

namespace LAMMPS_NS {

/// compute hesspot/hvp: the exact product of the group's Hessian with a per-atom vector, and the curvature along it.
///
/// The direction goes to the ghost atoms by one forward communication; each rank differentiates the energies of its
/// own centres along it; what falls on ghost atoms goes home by one reverse communication.
class ComputeHesspotHvp : public Compute {
 public:
  ComputeHesspotHvp(class LAMMPS *, int, char **);
  ~ComputeHesspotHvp() override;

  void init() override;
  void setup() override;
  double compute_scalar() override;
  void compute_peratom() override;
  int pack_forward_comm(int, int *, double *, int, int *) override;
  void unpack_forward_comm(int, int, double *) override;
  int pack_reverse_comm(int, int, double *) override;
  void unpack_reverse_comm(int, int *, double *) override;
  double memory_usage() override;

  /// Products (n_directions, nlocal, 3) in eV/Angstrom^2 with `directions` of that shape. Collective.
  void apply(int n_directions, const double *directions, double *products);

  /// What else acts on the atoms of the group, in words; its curvature is left out. Collective.
  std::string left_out();

  /// What this rank's centres contribute to the group's Hessian, eV/Angstrom^2. Collective.
  hesspot::HessianBlocks hessian();

 private:
  enum class Source { Velocity, Custom, Compute, Fix, Variable };

  /// Where one component of the direction comes from: `column` (from 0) of a per-atom array, -1 for a vector.
  struct Component {
    Source source;
    std::string name;
    int column;
  };

  std::vector<Component> components;       // x, y, z
  std::vector<class PairHesspot *> pairs;  // all of a hybrid style
  double **direction, **product;           // of own and ghost atoms
  int nmax;
  bool reading;  // the direction, just now

  Component component_of(const std::string &);
  void append_source(const std::string &);
  void find_pairs();
  void prepare();
  void invalidate();
  void read_direction();
  void read_component(const Component &, int);
  void read_array(const Component &, int, const double *, const double *const *, int);
  void grow();
  void multiply();
  [[noreturn]] void refuse(const std::string &);
};

}  // namespace LAMMPS_NS

#endif
