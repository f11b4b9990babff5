/* Forces on a water molecule, and the product of its Hessian with a direction, from a model file.
 *
 *   cc water.c -I HEADERS -L HEADERS -l:_kernels.so -Wl,-rpath,HEADERS -o water && ./water MODEL.pt
 *
 * HEADERS: python -c "from hesspot.compiled import KERNEL_SOURCES; print(KERNEL_SOURCES)". */

#include "hesspot_kernel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ATOMS = 3, EDGES = 6 };

static const char *const symbols[ATOMS] = {"O", "H", "H"};
static const double positions[ATOMS][3] = {{0, 0, 0.119262}, {0, 0.763239, -0.477047}, {0, -0.763239, -0.477047}};
static const double direction[ATOMS][3] = {{0, 0, 1}, {0, 0.5, -0.25}, {0.125, 0, 0}};

static const char *error;

static void need(int status) {
  if (status == HESSPOT_SUCCESS) return;
  fprintf(stderr, "%s\n", error);
  exit(1);
}

/* Adds an edge's values to the atom that it ends at, and takes them from its centre. */
static void print_sums(const char *name, double sign, const double *values, const int *from, const int *to) {
  double sums[ATOMS][3] = {{0}};
  for (int e = 0; e < EDGES; e++)
    for (int k = 0; k < 3; k++) sums[to[e]][k] += values[3 * e + k];
  for (int e = 0; e < EDGES; e++)
    for (int k = 0; k < 3; k++) sums[from[e]][k] -= values[3 * e + k];
  for (int a = 0; a < ATOMS; a++)
    printf("%s %.17g %.17g %.17g\n", name, sign * sums[a][0], sign * sums[a][1], sign * sums[a][2]);
}

int main(int argc, char **argv) {
  void *model;
  if (argc != 2) return 2;
  need(hesspot_model_open(HESSPOT_ABI, argv[1], 0, 1, &model, &error));

  int64_t species[ATOMS] = {-1, -1, -1}, first_edge[ATOMS + 1] = {0}, neighbor_species[EDGES];
  for (int a = 0; a < ATOMS; a++)
    for (int s = 0; hesspot_model_element(model, s); s++)
      if (!strcmp(hesspot_model_element(model, s), symbols[a])) species[a] = s;

  int from[EDGES], to[EDGES], e = 0; /* all pairs: the molecule is smaller than the cutoff */
  double vectors[3 * EDGES], along[3 * EDGES], energies[ATOMS], gradient[3 * EDGES], products[3 * EDGES];
  for (int i = 0; i < ATOMS; i++) {
    for (int j = 0; j < ATOMS; j++) {
      if (i == j) continue;
      for (int k = 0; k < 3; k++) vectors[3 * e + k] = positions[j][k] - positions[i][k];
      for (int k = 0; k < 3; k++) along[3 * e + k] = direction[j][k] - direction[i][k];
      neighbor_species[e] = species[j];
      from[e] = i, to[e++] = j;
    }
    first_edge[i + 1] = e;
  }
  struct hesspot_edges edges = {ATOMS, EDGES, species, first_edge, neighbor_species, vectors};
  need(hesspot_model_evaluate(model, &edges, energies, gradient, &error));
  need(hesspot_model_hvp(model, &edges, along, products, &error));
  printf("energy %.17g\n", energies[0] + energies[1] + energies[2]);
  print_sums("force", -1, gradient, from, to);
  print_sums("H.v", 1, products, from, to);
  hesspot_model_delete(model);
  return 0;
}
