/* SPDX-License-Identifier: MIT
 *
 * hesspot's kernels as a C library, without torch: energies of atoms from the
 * vectors to their neighbours, gradients, and products of Hessians with
 * directions. Units: eV and Angstrom.
 *
 * Functions that can fail give a `hesspot_status`. Unless it is
 * HESSPOT_SUCCESS, *error then points to a sentence that says why, which holds
 * until the same thread calls such a function again; `error` may be null.
 * Arguments that are looked at are named with each function; sizes of arrays,
 * and that pointers lead to them, are for the caller to keep.
 */

#ifndef HESSPOT_KERNEL_C_H
#define HESSPOT_KERNEL_C_H

#include <stdint.h>

#define HESSPOT_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

enum hesspot_status {
  HESSPOT_SUCCESS = 0,
  HESSPOT_INVALID = 1,   /**< an argument that cannot be */
  HESSPOT_NO_MEMORY = 2, /**< memory ran out */
  HESSPOT_FAILED = 3 /**< anything else, such as a thread that cannot start */
};

/** The interface that the library was compiled with: the SHA-256 of that of
 * this header, in hexadecimal digits. */
HESSPOT_API const char *hesspot_kernel_interface(void);

/** Instruction sets that this processor has, the best one first, separated by
 * spaces. A model takes the best one, or the one that the environment variable
 * HESSPOT_INSTRUCTIONS names when the model is made. */
HESSPOT_API const char *hesspot_instruction_sets(void);

/** The version of the kernel's formulas, which packed weights name. */
HESSPOT_API int hesspot_house_version(void);

/** The power p of the envelope (1 - (r/cutoff)^2)^p of the kernel. */
HESSPOT_API int hesspot_house_envelope_power(void);

/** A house model, into *model, from the `size` bytes of packed weights that an
 * exported file holds (docs/export.md); `single_precision`: 1 for arithmetic in
 * float, 0 in double. HESSPOT_INVALID for weights that are damaged or of
 * another version, HESSPOT_FAILED for instructions that the processor does not
 * have. */
HESSPOT_API int hesspot_house_new(const char *block, int64_t size,
                                  int single_precision, void **model,
                                  const char **error);

HESSPOT_API void hesspot_house_delete(void *model);

/** 1 for a model that is no committee. */
HESSPOT_API int hesspot_house_n_members(const void *model);

/** Name of the instruction set that the model uses. */
HESSPOT_API const char *hesspot_house_instructions(const void *model);

/** Threads that share the centres, to the same last bit; 1 at first. Not while
 * something is evaluated. HESSPOT_INVALID for fewer than 1. */
HESSPOT_API int hesspot_house_set_threads(void *model, int threads,
                                          const char **error);

/** Energies (n_centers) eV and gradient (3 n_edges) eV/Angstrom with respect to
 * the vectors; of a committee, the means.
 *
 * Edges are sorted by centre: those of centre c are first_edge[c] ...
 * first_edge[c + 1] - 1. species (n_centers) and neighbor_species (n_edges) are
 * indices into the model's elements; vectors (3 n_edges) Angstrom, from the
 * centre to its neighbour. HESSPOT_INVALID for numbers below zero, a species
 * that is no element of the model, and first_edge (n_centers + 1) that does not
 * rise from 0 to n_edges. */
HESSPOT_API int hesspot_house_evaluate(const void *model, int64_t n_centers,
                                       int64_t n_edges, const int64_t *species,
                                       const int64_t *first_edge,
                                       const int64_t *neighbor_species,
                                       const double *vectors, double *energies,
                                       double *gradient, const char **error);

/** The same of each member of a committee: energies (n_members, n_centers),
 * gradient (n_members, 3 n_edges). */
HESSPOT_API int hesspot_house_members(const void *model, int64_t n_centers,
                                      int64_t n_edges, const int64_t *species,
                                      const int64_t *first_edge,
                                      const int64_t *neighbor_species,
                                      const double *vectors, double *energies,
                                      double *gradient, const char **error);

/** Products (3 n_edges) of each centre's Hessian with the directions (3
 * n_edges) of its edges, eV/Angstrom^2 times their unit. Checks as above. */
HESSPOT_API int hesspot_house_hvp(const void *model, int64_t n_centers,
                                  int64_t n_edges, const int64_t *species,
                                  const int64_t *first_edge,
                                  const int64_t *neighbor_species,
                                  const double *vectors,
                                  const double *directions, double *products,
                                  const char **error);

#ifdef __cplusplus
}
#endif

#endif
