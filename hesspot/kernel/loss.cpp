// SPDX-License-Identifier: MIT

#include "loss.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

namespace hesspot {
namespace {

enum Term { ENERGY, FORCES, HESSIAN, STRESS };

constexpr std::size_t NO_DIRECTION = static_cast<std::size_t>(-1);

/// A structure with one of its directions, or with none.
struct Item {
  const hesspot_labelled *structure;
  std::size_t direction, first_atom, first_edge;

  std::size_t n_atoms() const {
    return static_cast<std::size_t>(structure->n_atoms);
  }
  std::size_t n_edges() const {
    return static_cast<std::size_t>(structure->n_edges);
  }
  /// Whether its energy, forces and virial are compared here.
  bool compares_all() const {
    return direction == 0 || direction == NO_DIRECTION;
  }
};

double square(double x) { return x * x; }

/// y_j += sum_i x_i a_ij, a square and by rows.
void add_row_product(const double *x, const double *a, std::size_t n,
                     double *y) {
  for (std::size_t i = 0; i < n; i++)
    for (std::size_t j = 0; j < n; j++)
      y[j] += x[i] * a[i * n + j];
}

/// y_i = sum_j a_ij x_j.
void column_product(const double *a, const double *x, std::size_t n,
                    double *y) {
  for (std::size_t i = 0; i < n; i++) {
    y[i] = 0.0;
    for (std::size_t j = 0; j < n; j++)
      y[i] += a[i * n + j] * x[j];
  }
}

/// Structures that are evaluated together: all of them with directions, or
/// none.
class Group {
public:
  Group(const KernelModel &model, bool directed)
      : members_(static_cast<std::size_t>(model.n_members())), model_(model),
        directed_(directed) {}

  bool empty() const { return items_.empty(); }
  std::size_t n_edges() const { return neighbors_.size(); }

  void add(const hesspot_labelled &structure, std::size_t direction) {
    const Item item = {&structure, direction, species_.size(),
                       neighbors_.size()};
    items_.push_back(item);
    const std::size_t n = item.n_atoms(), n_edges = item.n_edges();
    species_.insert(species_.end(), structure.species, structure.species + n);
    for (std::size_t e = 0, c = 0; c < n; c++) {
      first_edge_.push_back(item.first_edge + e);
      while (e < n_edges &&
             structure.centers[e] == static_cast<std::int64_t>(c)) {
        centers_.push_back(item.first_atom + c);
        e++;
      }
    }
    if (centers_.size() != item.first_edge + n_edges)
      throw std::invalid_argument(
          "the centres of the " + std::to_string(n_edges) +
          " edges must rise and be among the " + std::to_string(n) + " atoms");
    for (std::size_t e = 0; e < n_edges; e++) {
      const auto neighbor = structure.neighbors[e];
      if (neighbor < 0 || neighbor >= structure.n_atoms)
        throw std::invalid_argument(
            "edge " + std::to_string(e) + " ends at atom " +
            std::to_string(neighbor) + ", but there are " + std::to_string(n));
      neighbors_.push_back(item.first_atom +
                           static_cast<std::size_t>(neighbor));
      neighbor_species_.push_back(structure.species[neighbor]);
    }
    vectors_.insert(vectors_.end(), structure.vectors,
                    structure.vectors + 3 * n_edges);
    if (directed_)
      add_direction(item);
  }

  /// Adds to the gradient and to the four terms, and forgets the structures.
  void evaluate(double *weight_gradient, double *terms) {
    const std::size_t n = species_.size(), size = vectors_.size();
    first_edge_.push_back(neighbors_.size());
    const Edges edges = {n, species_.data(), first_edge_.data(),
                         neighbor_species_.data(), vectors_.data()};
    energies_.resize(members_ * n);
    gradient_.resize(members_ * size);
    products_.resize(directed_ ? members_ * size : 0);
    if (directed_)
      model_.differentiate(edges, along_.data(), energies_.data(),
                           gradient_.data(), products_.data());
    else
      model_.members(edges, energies_.data(), gradient_.data());
    for (std::size_t m = 0; m < members_; m++) {
      of_energies_.assign(n, 0.0);
      of_gradient_.assign(size, 0.0);
      of_products_.assign(products_.empty() ? 0 : size, 0.0);
      has_gradient_ = false;
      for (const Item &item : items_)
        compare(item, m, terms);
      LossSlopes slopes = {of_energies_.data(), nullptr, nullptr, nullptr};
      if (has_gradient_)
        slopes.gradient = of_gradient_.data();
      if (directed_) {
        slopes.directions = along_.data();
        slopes.products = of_products_.data();
      }
      model_.add_weight_gradient(edges, static_cast<int>(m), slopes,
                                 weight_gradient);
    }
    clear();
  }

private:
  const std::size_t members_;
  const KernelModel &model_;
  const bool directed_;
  bool has_gradient_ = false;
  std::vector<Item> items_;
  std::vector<std::int64_t> species_, neighbor_species_;
  std::vector<std::size_t> first_edge_, centers_, neighbors_;
  std::vector<double> vectors_, along_, expected_; // (atoms or edges, 3)
  std::vector<double> energies_, gradient_, products_;
  std::vector<double> of_energies_, of_gradient_, of_products_;
  std::vector<double> answer_, measured_; // (3 atoms of a structure)

  void clear() {
    items_.clear();
    for (auto *each : {&species_, &neighbor_species_})
      each->clear();
    for (auto *each : {&first_edge_, &centers_, &neighbors_})
      each->clear();
    for (auto *each : {&vectors_, &along_, &expected_})
      each->clear();
  }

  /// Its direction along the edges, and the product that is expected.
  void add_direction(const Item &item) {
    const hesspot_labelled &own = *item.structure;
    const std::size_t size = 3 * item.n_atoms();
    std::vector<double> drawn(size, 0.0), direction(size);
    if (own.directions)
      std::copy_n(own.directions + item.direction * size, size, drawn.data());
    else
      drawn[item.direction] = 1.0;
    if (own.metric)
      column_product(own.metric, drawn.data(), size, direction.data());
    else
      direction = drawn;
    const std::size_t place = expected_.size();
    expected_.resize(place + size, 0.0);
    if (own.products)
      std::copy_n(own.products + item.direction * size, size,
                  &expected_[place]);
    else
      add_row_product(direction.data(), own.hessian, size, &expected_[place]);
    along_.resize(vectors_.size());
    spread(item, direction.data(), 1.0, along_.data() + 3 * item.first_edge);
  }

  /// Adds what belongs to the neighbour of each edge less what belongs to its
  /// centre; values (3 atoms of the structure).
  void spread(const Item &item, const double *values, double factor,
              double *edges) const {
    for (std::size_t e = 0; e < item.n_edges(); e++)
      for (std::size_t i = 0; i < 3; i++)
        edges[3 * e + i] += factor * (values[3 * neighbor(item, e) + i] -
                                      values[3 * center(item, e) + i]);
  }

  /// The reverse: sums over the edges of each atom, into `answer_`.
  void gather(const Item &item, const double *edges) {
    answer_.assign(3 * item.n_atoms(), 0.0);
    for (std::size_t e = 0; e < item.n_edges(); e++)
      for (std::size_t i = 0; i < 3; i++) {
        answer_[3 * neighbor(item, e) + i] += edges[3 * e + i];
        answer_[3 * center(item, e) + i] -= edges[3 * e + i];
      }
  }

  std::size_t neighbor(const Item &item, std::size_t e) const {
    return neighbors_[item.first_edge + e] - item.first_atom;
  }
  std::size_t center(const Item &item, std::size_t e) const {
    return centers_[item.first_edge + e] - item.first_atom;
  }

  /// The terms of a structure, and the slopes of the loss.
  void compare(const Item &item, std::size_t member, double *terms) {
    const hesspot_labelled &own = *item.structure;
    const double weight =
        (own.member_weights ? own.member_weights[member] : 1) /
        static_cast<double>(members_);
    if (item.compares_all())
      compare_all(item, member, weight, terms);
    if (directed_)
      compare_product(item, member, weight, terms);
  }

  void compare_all(const Item &item, std::size_t member, double weight,
                   double *terms) {
    const hesspot_labelled &own = *item.structure;
    const std::size_t n = item.n_atoms();
    const double atoms = static_cast<double>(n),
                 share = 1.0 / static_cast<double>(members_);
    double error = -own.energy;
    for (std::size_t c = 0; c < n; c++)
      error += energies_[member * species_.size() + item.first_atom + c];
    terms[ENERGY] += share * square(error) / atoms;
    for (std::size_t c = 0; c < n; c++)
      of_energies_[item.first_atom + c] =
          2.0 * weight * own.of_energy * error / atoms;
    const double *const gradient =
        gradient_.data() + member * vectors_.size() + 3 * item.first_edge;
    double *const of_gradient = of_gradient_.data() + 3 * item.first_edge;
    if (own.forces) {
      has_gradient_ = true;
      gather(item, gradient);
      double sum = 0.0;
      for (std::size_t i = 0; i < 3 * n; i++) {
        answer_[i] += own.forces[i]; // less the forces: the error, turned round
        sum += square(answer_[i]);
      }
      terms[FORCES] += share * sum / (3.0 * atoms);
      spread(item, answer_.data(), 2.0 * weight * own.of_forces / (3.0 * atoms),
             of_gradient);
    }
    if (own.virial) {
      has_gradient_ = true;
      const double *const vectors = vectors_.data() + 3 * item.first_edge;
      double errors[9];
      for (std::size_t i = 0; i < 9; i++)
        errors[i] = -own.virial[i];
      for (std::size_t e = 0; e < item.n_edges(); e++)
        for (std::size_t i = 0; i < 9; i++)
          errors[i] -= vectors[3 * e + i / 3] * gradient[3 * e + i % 3];
      double sum = 0.0;
      for (const double each : errors)
        sum += square(each);
      terms[STRESS] += share * sum / (9.0 * atoms);
      const double factor = 2.0 * weight * own.of_stress / (9.0 * atoms);
      for (std::size_t e = 0; e < item.n_edges(); e++)
        for (std::size_t i = 0; i < 9; i++)
          of_gradient[3 * e + i % 3] -=
              factor * vectors[3 * e + i / 3] * errors[i];
    }
  }

  void compare_product(const Item &item, std::size_t member, double weight,
                       double *terms) {
    const hesspot_labelled &own = *item.structure;
    const std::size_t size = 3 * item.n_atoms(), place = 3 * item.first_atom;
    gather(item,
           products_.data() + member * vectors_.size() + 3 * item.first_edge);
    for (std::size_t i = 0; i < size; i++)
      answer_[i] -= expected_[place + i];
    if (own.metric) {
      measured_.assign(size, 0.0);
      add_row_product(answer_.data(), own.metric, size, measured_.data());
      column_product(own.metric, measured_.data(), size, answer_.data());
    } else {
      measured_ = answer_;
    }
    double sum = 0.0;
    for (const double each : measured_)
      sum += square(each);
    const double part = own.direction_share / square(static_cast<double>(size));
    terms[HESSIAN] += part * sum / static_cast<double>(members_);
    spread(item, answer_.data(), 2.0 * weight * own.of_hessian * part,
           of_products_.data() + 3 * item.first_edge);
  }
};

void check(const hesspot_labelled &structure) {
  if (structure.n_atoms < 1 || structure.n_edges < 0 ||
      structure.n_directions < 0)
    throw std::invalid_argument(
        std::to_string(structure.n_atoms) + " atoms with " +
        std::to_string(structure.n_edges) + " edges and " +
        std::to_string(structure.n_directions) + " directions cannot be");
  if (!structure.n_directions)
    return;
  if (!structure.hessian && !(structure.directions && structure.products))
    throw std::invalid_argument("directions need a Hessian, or the products "
                                "with them");
  if (!structure.directions && structure.n_directions > 3 * structure.n_atoms)
    throw std::invalid_argument(
        std::to_string(structure.n_directions) + " axes of " +
        std::to_string(structure.n_atoms) + " atoms cannot be");
}

} // namespace

void add_loss_gradient(const KernelModel &model,
                       const hesspot_labelled *structures,
                       std::size_t n_structures, std::size_t max_edges,
                       double *weight_gradient, double *terms) {
  std::fill_n(terms, 4, 0.0);
  for (const bool directed : {false, true}) {
    Group group(model, directed);
    const auto add = [&](const hesspot_labelled &structure,
                         std::size_t direction) {
      if (!group.empty() &&
          group.n_edges() + static_cast<std::size_t>(structure.n_edges) >
              max_edges)
        group.evaluate(weight_gradient, terms);
      group.add(structure, direction);
    };
    for (std::size_t i = 0; i < n_structures; i++) {
      const hesspot_labelled &own = structures[i];
      check(own);
      if (directed)
        for (std::size_t d = 0; d < static_cast<std::size_t>(own.n_directions);
             d++)
          add(own, d);
      else if (!own.n_directions)
        add(own, NO_DIRECTION);
    }
    if (!group.empty())
      group.evaluate(weight_gradient, terms);
  }
}

} // namespace hesspot
