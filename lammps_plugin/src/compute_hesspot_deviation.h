// SPDX-License-Identifier: GPL-2.0-or-later

#ifndef HESSPOT_COMPUTE_HESSPOT_DEVIATION_H
#define HESSPOT_COMPUTE_HESSPOT_DEVIATION_H

#include "lammps_headers.h"

#include <string>

namespace LAMMPS_NS {

/// compute hesspot/deviation: how much the members of a committee differ in forces and energies.
///
/// Each rank asks the members about its own centres; what falls on ghost atoms goes home by one reverse communication.
class ComputeHesspotDeviation : public Compute {
 public:
  ComputeHesspotDeviation(class LAMMPS *, int, char **);
  ~ComputeHesspotDeviation() override;

  void init() override;
  void compute_vector() override;
  void compute_peratom() override;
  int pack_reverse_comm(int, int, double *) override;
  void unpack_reverse_comm(int, int *, double *) override;
  double memory_usage() override;

 private:
  class PairHesspot *pair;  // the one with a committee
  int n_members;
  double **forces;     // (n_members, 3) of own and ghost atoms
  double **energies;   // (n_members) of own atoms
  double **deviation;  // of force and energy, of own atoms
  int nmax;

  void find_committee();
  void grow();
  [[noreturn]] void refuse(const std::string &);
};

}  // namespace LAMMPS_NS

#endif
