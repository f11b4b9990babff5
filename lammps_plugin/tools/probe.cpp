// SPDX-License-Identifier: GPL-2.0-or-later
//
// hesspot-probe MODEL double|single torchscript|kernel: evaluates a model without LAMMPS.
//
// Reads cases from standard input until it ends, in text: "n_centers n_edges", the species of the centres, and for
// each edge, sorted by centre, "center neighbor_species dx dy dz ux uy uz" with u the direction of H.v along the edge.
// Writes for each case the energies of the centres, then for each edge g and h of hesspot/model.h, 6 numbers a line.

#include <hesspot/model.h>

#include <cstdio>
#include <iostream>

int main(int argc, char **argv)
{
  if (argc != 4) {
    std::cerr << "usage: hesspot-probe MODEL double|single torchscript|kernel < cases\n";
    return 2;
  }
  try {
    hesspot::Options options;
    if (std::string(argv[2]) == "single") options.precision = hesspot::Precision::Single;
    options.backend = std::string(argv[3]) == "kernel" ? hesspot::Backend::Kernel : hesspot::Backend::TorchScript;
    const auto model = hesspot::load_model(argv[1], options);
    std::size_t n_centers, n_edges;
    while (std::cin >> n_centers >> n_edges) {
      hesspot::EdgeList edges;
      edges.species.resize(n_centers);
      edges.centers.resize(n_edges);
      edges.neighbor_species.resize(n_edges);
      edges.vectors.resize(3 * n_edges);
      std::vector<double> directions(3 * n_edges), energies, gradient, products;
      for (auto &species : edges.species) std::cin >> species;
      for (std::size_t e = 0; e < n_edges; e++) {
        std::cin >> edges.centers[e] >> edges.neighbor_species[e];
        for (std::size_t k = 0; k < 3; k++) std::cin >> edges.vectors[3 * e + k];
        for (std::size_t k = 0; k < 3; k++) std::cin >> directions[3 * e + k];
      }
      if (!std::cin) throw hesspot::ModelError("standard input ends within a case; give all of its edges");
      model->evaluate(edges, energies, gradient);
      model->hvp(edges, directions, products);
      for (const auto energy : energies) std::printf("%.17g\n", energy);
      for (std::size_t e = 0; e < n_edges; e++)
        std::printf("%.17g %.17g %.17g %.17g %.17g %.17g\n", gradient[3 * e], gradient[3 * e + 1], gradient[3 * e + 2],
                    products[3 * e], products[3 * e + 1], products[3 * e + 2]);
    }
  } catch (const hesspot::ModelError &error) {
    std::cerr << "hesspot-probe: " << error.what() << "\n";
    return 1;
  }
  return 0;
}
