// SPDX-License-Identifier: GPL-2.0-or-later

#include "house_model.h"

#include <stdexcept>

namespace hesspot {
namespace {

class HouseModel : public Model {
 public:
  HouseModel(std::vector<std::string> elements, double cutoff, std::unique_ptr<House> house) :
      Model(std::move(elements), cutoff, house->n_members()), house_(std::move(house))
  {
  }

  std::string instructions() const override { return house_->instructions(); }

  void evaluate(const Edges &edges, std::vector<double> &energies, std::vector<double> &gradient) override
  {
    energies.resize(edges.n_centers());
    gradient.resize(edges.vectors.size());
    house_->evaluate(view_of(edges), energies.data(), gradient.data());
  }

  void hvp(const Edges &edges, const std::vector<double> &directions, std::vector<double> &products) override
  {
    products.resize(edges.vectors.size());
    house_->hvp(view_of(edges), directions.data(), products.data());
  }

  void members(const Edges &edges, std::vector<double> &energies, std::vector<double> &gradient) override
  {
    const auto count = static_cast<std::size_t>(n_members());
    energies.resize(count * edges.n_centers());
    gradient.resize(count * edges.vectors.size());
    house_->members(view_of(edges), energies.data(), gradient.data());
  }

 private:
  std::unique_ptr<House> house_;
  std::vector<std::size_t> first_edge_;

  HouseEdges view_of(const Edges &edges)
  {
    first_edge_.assign(edges.n_centers() + 1, 0);
    for (const auto center : edges.centers) first_edge_[static_cast<std::size_t>(center) + 1]++;
    for (std::size_t c = 0; c < edges.n_centers(); c++) first_edge_[c + 1] += first_edge_[c];
    return {edges.n_centers(), edges.species.data(), first_edge_.data(), edges.neighbor_species.data(),
            edges.vectors.data()};
  }
};

}  // namespace

std::unique_ptr<Model> make_house(const std::string &block, const HouseShape &shape, const Options &options,
                                  const std::string &name)
{
  try {
    const auto read = unpack(block);
    if (read.shape != shape) throw std::invalid_argument("state another shape than their description");
    auto house = std::make_unique<House>(read.weights, options.precision == Precision::Single);
    house->set_threads(static_cast<std::size_t>(options.threads));
    return std::make_unique<HouseModel>(shape.elements, shape.cutoff, std::move(house));
  } catch (const std::invalid_argument &error) {
    throw ModelError("in model file " + name + " the packed weights " + error.what() +
                     "; export it again with `hesspot export`");
  }
}

}  // namespace hesspot
