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
  HESSPOT_FAILED = 3, /**< anything else, such as a thread that cannot start */
  HESSPOT_NO_KERNEL = 4 /**< packed weights that no kernel here evaluates */
};

/** The number of this interface, raised with every change that would make a
 * compiled program misread something. Functions that take `abi` want this
 * number, as the program was compiled with it, and are HESSPOT_INVALID for
 * another than the library's. */
#define HESSPOT_ABI 2

/** That of the library. */
HESSPOT_API int hesspot_abi(void);

/** The interface that the library was compiled with: the SHA-256 of that of
 * this header, in hexadecimal digits. */
HESSPOT_API const char *hesspot_kernel_interface(void);

/** Instruction sets that this processor has, the best one first, separated by
 * spaces. A model takes the best one, or the one that the environment variable
 * HESSPOT_INSTRUCTIONS names when the model is made. */
HESSPOT_API const char *hesspot_instruction_sets(void);

/** The first eight bytes of the packed weights of all architectures that have a
 * kernel here, separated by spaces. */
HESSPOT_API const char *hesspot_architectures(void);

/** The version of an architecture's formulas, which its packed weights name
 * behind these eight bytes; 0 for an architecture without a kernel here. */
HESSPOT_API int hesspot_version(const char *magic);

/** What the head of `size` bytes of packed weights states, into *shape: a JSON
 * object with `kernel_version`, `elements`, `cutoff` and more, which holds
 * until the same thread calls this function again. HESSPOT_NO_KERNEL for
 * weights of an architecture or a version that has no kernel here,
 * HESSPOT_INVALID for damage.
 */
HESSPOT_API int hesspot_shape(const char *block, int64_t size,
                              const char **shape, const char **error);

/** A model, into *model, from the `size` bytes of packed weights that an
 * exported file holds (docs/export.md); `single_precision`: 1 for arithmetic in
 * float, 0 in double. HESSPOT_NO_KERNEL for weights that no kernel here
 * evaluates, HESSPOT_INVALID for damage, HESSPOT_FAILED for instructions that
 * the processor does not have. */
HESSPOT_API int hesspot_model_new(const char *block, int64_t size,
                                  int single_precision, void **model,
                                  const char **error);

/** The same from the exported file at `path`, whose hashes are checked and none
 * of whose code runs; `verify`: 1 for a replay of its fingerprint, which must
 * give the stored numbers to rounding, 0 for none. HESSPOT_NO_KERNEL for a file
 * that TorchScript alone evaluates, HESSPOT_INVALID for one that cannot be
 * read, is no model, is damaged or changed, or has a newer layout. */
HESSPOT_API int hesspot_model_open(int abi, const char *path,
                                   int single_precision, int verify,
                                   void **model, const char **error);

HESSPOT_API void hesspot_model_delete(void *model);

/** The symbol of the element that species `index` stands for; null behind the
 * last one. */
HESSPOT_API const char *hesspot_model_element(const void *model, int index);

/** Within this distance, Angstrom, every neighbour of a centre must have an
 * edge; those beyond add nothing. */
HESSPOT_API double hesspot_model_cutoff(const void *model);

/** 1 for a model that is no committee. */
HESSPOT_API int hesspot_model_n_members(const void *model);

/** Name of the instruction set that the model uses. */
HESSPOT_API const char *hesspot_model_instructions(const void *model);

/** Threads that share the centres, to the same last bit; 1 at first. Models
 * share them, too: the calls of two wait for one another. Not while something
 * is evaluated. HESSPOT_INVALID for fewer than 1. */
HESSPOT_API int hesspot_model_set_threads(void *model, int threads,
                                          const char **error);

/** A structure, or several whose atoms are counted through: every atom is a
 * centre, whose edges are first_edge[c] ... first_edge[c + 1] - 1. */
struct hesspot_graph {
  int64_t n_atoms, n_edges;
  const int64_t *species;    /**< (n_atoms) indices into the elements */
  const int64_t *first_edge; /**< (n_atoms + 1) from 0 to n_edges */
  const int64_t *neighbors;  /**< (n_edges) atoms */
  const double *vectors; /**< (3 n_edges) Angstrom, from centre to neighbour */
};

/** The size of that structure, for callers that lay it out themselves. */
HESSPOT_API int64_t hesspot_graph_size(void);

/** Energy (1) eV, energies (n_atoms) eV of the atoms as centres, forces (3
 * n_atoms) eV/Angstrom, virial (3, 3) eV, minus the sum of vector times
 * gradient, and virials (n_atoms, 3, 3), its parts by neighbours, unless that
 * is null; of a committee, the means. Sums run over the edges in their order.
 * HESSPOT_INVALID as below, and for neighbours that are no atoms. */
HESSPOT_API int hesspot_model_answer(const void *model,
                                     const struct hesspot_graph *graph,
                                     double *energy, double *energies,
                                     double *forces, double *virial,
                                     double *virials, const char **error);

/** Products (3 n_atoms) of the Hessian with the directions (3 n_atoms) of the
 * atoms, eV/Angstrom^2 times their unit. Checks as above. */
HESSPOT_API int hesspot_model_products(const void *model,
                                       const struct hesspot_graph *graph,
                                       const double *directions,
                                       double *products, const char **error);

/** Analytic Hessian (3 n_atoms, 3 n_atoms) eV/Angstrom^2 of the graph's energy,
 * x, y, z of the first atom, then of the next; the same to the last bit across
 * the diagonal, and whatever the number of threads. Checks as above. */
HESSPOT_API int hesspot_model_hessian(const void *model,
                                      const struct hesspot_graph *graph,
                                      double *hessian, const char **error);

/** Edges, sorted by centre: those of centre c are first_edge[c] ...
 * first_edge[c + 1] - 1. species and neighbor_species are indices into the
 * model's elements. */
struct hesspot_edges {
  int64_t n_centers, n_edges;
  const int64_t *species;          /**< (n_centers) */
  const int64_t *first_edge;       /**< (n_centers + 1) from 0 to n_edges */
  const int64_t *neighbor_species; /**< (n_edges) */
  const double *vectors; /**< (3 n_edges) Angstrom, from centre to neighbour */
};

/** The size of that structure, for callers that lay it out themselves. */
HESSPOT_API int64_t hesspot_edges_size(void);

/** Energies (n_centers) eV and gradient (3 n_edges) eV/Angstrom with respect to
 * the vectors; of a committee, the means. HESSPOT_INVALID for numbers below
 * zero, a species that is no element of the model, and first_edge that does not
 * rise from 0 to n_edges. */
HESSPOT_API int hesspot_model_evaluate(const void *model,
                                       const struct hesspot_edges *edges,
                                       double *energies, double *gradient,
                                       const char **error);

/** The same of each member of a committee: energies (n_members, n_centers),
 * gradient (n_members, 3 n_edges). */
HESSPOT_API int hesspot_model_members(const void *model,
                                      const struct hesspot_edges *edges,
                                      double *energies, double *gradient,
                                      const char **error);

/** Products (3 n_edges) of each centre's Hessian with the directions (3
 * n_edges) of its edges, eV/Angstrom^2 times their unit. Checks as above. */
HESSPOT_API int hesspot_model_hvp(const void *model,
                                  const struct hesspot_edges *edges,
                                  const double *directions, double *products,
                                  const char **error);

/** Numbers that describe the surroundings of a centre; 0 for a kernel that has
 * none, and in single precision. */
HESSPOT_API int hesspot_model_n_descriptors(const void *model);

/** Descriptors (n_centers, n_descriptors) of the centres, standardised by the
 * training data; of a mean of models, those of the first. Checks as above, and
 * HESSPOT_INVALID where there are none. */
HESSPOT_API int hesspot_model_descriptors(const void *model,
                                          const struct hesspot_edges *edges,
                                          double *descriptors,
                                          const char **error);

/** An exported file, into *file, for what else is in it: from a path, or from
 * `size` bytes, which are copied and for which `name` stands in messages.
 * HESSPOT_INVALID as for hesspot_model_open; a file without a kernel is whole.
 */
HESSPOT_API int hesspot_file_open(int abi, const char *path, void **file,
                                  const char **error);
HESSPOT_API int hesspot_file_read(int abi, const char *content, int64_t size,
                                  const char *name, void **file,
                                  const char **error);

HESSPOT_API void hesspot_file_close(void *file);

/** The *size bytes of a record, such as extra/hesspot.json, the metadata, or
 * extra/hesspot.weights, the packed weights (docs/export.md); null if there is
 * none of that name. They hold until the file is closed. */
HESSPOT_API const char *hesspot_file_record(const void *file, const char *name,
                                            int64_t *size);

/** Why no kernel here evaluates it, until it is closed; null if one does. */
HESSPOT_API const char *hesspot_file_no_kernel(const void *file);

/** The model, into *model, as from hesspot_model_new; it outlives the file. */
HESSPOT_API int hesspot_file_model(const void *file, int single_precision,
                                   void **model, const char **error);

/** Replay the fingerprint: HESSPOT_INVALID if a number is not the stored one to
 * rounding, 1e-8 (single precision: 1e-3) of the largest of its kind in a
 * structure, or of 1. Largest deviations into deviations (4) unless null:
 * energy eV per atom, forces eV/Angstrom, virial eV, H v eV/Angstrom^2. */
HESSPOT_API int hesspot_file_verify(const void *file, const void *model,
                                    double *deviations, const char **error);

/** Training. A model has so many weights for each member and each element of
 * the centre, in an order that the header of its architecture tells; 0 if its
 * kernel does not train it, as in single precision: then none of the functions
 * below. */
HESSPOT_API int hesspot_model_n_weights(const void *model);

/** Where the caller keeps weight i of those (n_members, n_elements, n_weights):
 * at places[i] of a vector of its own, which the functions below are given.
 * Without this call they stand in that order. The first of the members that
 * share some gives those. Not while something is evaluated. */
HESSPOT_API int hesspot_model_place_weights(void *model, const int64_t *places,
                                            const char **error);

/** Give the model other weights. Not while something is evaluated. */
HESSPOT_API int hesspot_model_set_weights(void *model, const double *weights,
                                          const char **error);

/** A structure with what is known of it, and how much that counts in a loss.
 * Edges are as above, of the structure's atoms as centres. What is null is not
 * compared; a factor is looked at where its label is there.
 *
 * Of n atoms the terms are, with errors of the member's answers:
 *
 *   of_energy * error^2 / n
 *   of_forces * sum of errors^2 / (3 n)
 *   of_stress * sum of errors of the virial^2 / (9 n)
 *   of_hessian * direction_share * sum over directions of |At (H d - p)|^2
 *     / (3 n)^2
 *
 * where d is A times a direction, p the product that belongs to it, or d times
 * the Hessian that is known, and A the metric. The loss of a committee is the
 * mean of its members', each times its weight. */
struct hesspot_labelled {
  int64_t n_atoms, n_edges;
  const int64_t *species;   /**< (n_atoms) */
  const int64_t *centers;   /**< (n_edges) atoms, which rise */
  const int64_t *neighbors; /**< (n_edges) atoms */
  const double *vectors;    /**< (3 n_edges) Angstrom */
  double energy;            /**< eV */
  const double *forces;     /**< (3 n_atoms) eV/Angstrom */
  const double *virial;     /**< (9) eV, -sum of vector times gradient */
  const double *hessian;    /**< (3 n_atoms, 3 n_atoms) eV/Angstrom^2 */
  const double *metric;     /**< (3 n_atoms, 3 n_atoms), or null for 1 */
  int64_t n_directions;     /**< 0: curvature is not compared */
  const double *directions; /**< (n_directions, 3 n_atoms), or null: the axes
                                 of the atoms, one after the other */
  const double *products;   /**< (n_directions, 3 n_atoms), or null: by the
                                 Hessian */
  const double *member_weights; /**< (n_members), or null for 1 */
  double of_energy, of_forces, of_hessian, of_stress;
  double direction_share;
};

/** The size of that structure, for callers that lay it out themselves. */
HESSPOT_API int64_t hesspot_labelled_size(void);

/** Add the gradient of the sum of the structures' losses with respect to the
 * weights to weight_gradient, the same to the last bit whatever the number of
 * threads, and set terms (4) to the sums of energy, forces, Hessian and stress
 * terms without factors and weights, means over the members. At most
 * `max_edges` edges are evaluated at once, and one structure at least. */
HESSPOT_API int hesspot_model_add_loss_gradient(
    const void *model, const struct hesspot_labelled *structures,
    int64_t n_structures, int64_t max_edges, double *weight_gradient,
    double *terms, const char **error);

/** Matrices of one shape with the state of their optimizer SOAP, one behind the
 * other; all by rows. rows <= columns: those of the state. */
struct hesspot_soap_stack {
  int64_t count, rows, columns;
  int64_t rank;           /**< directions in the basis of the columns */
  int64_t transposed;     /**< 1 if weights are (columns, rows) */
  double *weights;        /**< (count, rows, columns) */
  const double *gradient; /**< the same */
  const void *left;       /**< (count, rows, rows), columns are directions;
                               null: each element is stepped by Adam, and of
                               the rest only mean and square are looked at,
                               (count, rows, columns) */
  const void *right;      /**< (count, rank, columns), rows are directions */
  void *mean, *square;    /**< (count, rows, rank), in these bases */
  void *beyond_mean, *beyond_square; /**< (count, rows, columns), or null */
  void *left_square, *right_square;  /**< like left and right */
};

/** One step of these matrices; state is float with `single_precision`, else
 * double. memory: decay of the means; memory_of_squares: that of left_square
 * and right_square, 1 leaves them as they are; unbias: 1 - memory^steps;
 * epsilon: added to root mean squares; rate: of learning; decay: of the weights
 * in this step. `threads` matrices at once, to the same last bit.
 * HESSPOT_INVALID for numbers below 1, and for more rows or directions than
 * columns. */
HESSPOT_API int hesspot_soap_step(const struct hesspot_soap_stack *stacks,
                                  int64_t n_stacks, int single_precision,
                                  double memory, double memory_of_squares,
                                  double unbias, double epsilon, double rate,
                                  double decay, int threads,
                                  const char **error);

/** The size of such a stack, for callers that lay it out themselves. */
HESSPOT_API int64_t hesspot_soap_stack_size(void);

#ifdef __cplusplus
}
#endif

#endif
