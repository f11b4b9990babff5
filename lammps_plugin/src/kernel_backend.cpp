// SPDX-License-Identifier: GPL-2.0-or-later

#include "kernel_backend.h"

namespace hesspot {
namespace {

class KernelBackend : public Model {
 public:
  KernelBackend(std::vector<std::string> elements, double cutoff, std::unique_ptr<KernelModel> kernel) :
      Model(std::move(elements), cutoff, kernel->n_members()), kernel_(std::move(kernel))
  {
  }

  std::string instructions() const override { return kernel_->instructions(); }

  void evaluate(const EdgeList &edges, std::vector<double> &energies, std::vector<double> &gradient) override
  {
    energies.resize(edges.n_centers());
    gradient.resize(edges.vectors.size());
    kernel_->evaluate(view_of(edges), energies.data(), gradient.data());
  }

  void hvp(const EdgeList &edges, const std::vector<double> &directions, std::vector<double> &products) override
  {
    products.resize(edges.vectors.size());
    kernel_->hvp(view_of(edges), directions.data(), products.data());
  }

  void members(const EdgeList &edges, std::vector<double> &energies, std::vector<double> &gradient) override
  {
    const auto count = static_cast<std::size_t>(n_members());
    energies.resize(count * edges.n_centers());
    gradient.resize(count * edges.vectors.size());
    kernel_->members(view_of(edges), energies.data(), gradient.data());
  }

 private:
  std::unique_ptr<KernelModel> kernel_;
  std::vector<std::size_t> first_edge_;

  Edges view_of(const EdgeList &edges)
  {
    first_edge_.assign(edges.n_centers() + 1, 0);
    for (const auto center : edges.centers) first_edge_[static_cast<std::size_t>(center) + 1]++;
    for (std::size_t c = 0; c < edges.n_centers(); c++) first_edge_[c + 1] += first_edge_[c];
    return {edges.n_centers(), edges.species.data(), first_edge_.data(), edges.neighbor_species.data(),
            edges.vectors.data()};
  }
};

}  // namespace

std::unique_ptr<Model> load_kernel(const ModelFile &file, const Options &options)
{
  auto kernel = file.kernel(options.precision == Precision::Single);
  kernel->set_threads(static_cast<std::size_t>(options.threads));
  return std::make_unique<KernelBackend>(file.metadata().elements, file.metadata().cutoff, std::move(kernel));
}

}  // namespace hesspot
