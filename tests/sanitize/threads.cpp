// Several callers of one model with several threads: the same numbers as with
// one, while ThreadSanitizer looks for data that two threads touch at once.

#include "house.h"

#include <cstdio>
#include <cstdlib>
#include <random>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

using namespace hesspot;

namespace {

constexpr int N_ELEMENTS = 2, N_RADIAL = 3, N_CHANNELS = 2, N_MEMBERS = 2;
constexpr std::size_t N_CENTERS = 400, N_NEIGHBORS = 5;

std::mt19937 generator(1);

std::vector<double> random_numbers(std::size_t count) {
  std::normal_distribution<double> normal;
  std::vector<double> values(count);
  for (auto &value : values)
    value = normal(generator);
  return values;
}

HouseWeights random_weights() {
  constexpr std::size_t S = N_ELEMENTS, K = N_RADIAL, C = N_CHANNELS,
                        D = C + 3 * C * (3 * C + 1) / 2 +
                            2 * C * (2 * C + 1) / 2 + C * (C + 1) / 2,
                        WIDTH = 4;
  HouseWeights weights;
  weights.n_elements = N_ELEMENTS;
  weights.n_radial = N_RADIAL;
  weights.n_channels = N_CHANNELS;
  weights.cutoff = 4.0;
  weights.cores.resize(N_ELEMENTS * N_ELEMENTS); // none
  Description description;
  description.mix = random_numbers(4 * S * S * K * C);
  description.shifts = random_numbers(S);
  description.mean = random_numbers(S * D);
  description.inverse_deviation = random_numbers(S * D);
  for (std::size_t n = 0; n < N_MEMBERS * S; n++)
    description.networks.push_back(
        {{{random_numbers(D * WIDTH), random_numbers(WIDTH)}},
         {random_numbers(WIDTH), random_numbers(1)},
         random_numbers(D)});
  weights.descriptions.push_back(description);
  return weights;
}

struct Input {
  std::vector<std::int64_t> species, neighbor_species;
  std::vector<std::size_t> first_edge{0};
  std::vector<double> vectors, directions;

  Input() {
    for (std::size_t c = 0; c < N_CENTERS; c++) {
      species.push_back(static_cast<std::int64_t>(c % N_ELEMENTS));
      for (std::size_t e = 0; e < N_NEIGHBORS; e++)
        neighbor_species.push_back(static_cast<std::int64_t>(e % N_ELEMENTS));
      first_edge.push_back(neighbor_species.size());
    }
    vectors = random_numbers(3 * neighbor_species.size());
    directions = random_numbers(vectors.size());
  }

  Edges edges() const {
    return {N_CENTERS, species.data(), first_edge.data(),
            neighbor_species.data(), vectors.data()};
  }
};

std::vector<double> all_answers(const House &house, const Input &input) {
  const std::size_t n = input.vectors.size();
  std::vector<double> energies(N_CENTERS), gradient(n), products(n),
      of_members(N_MEMBERS * N_CENTERS), gradients(N_MEMBERS * n);
  house.evaluate(input.edges(), energies.data(), gradient.data());
  house.hvp(input.edges(), input.directions.data(), products.data());
  house.members(input.edges(), of_members.data(), gradients.data());
  for (const auto *more : {&gradient, &products, &of_members, &gradients})
    energies.insert(energies.end(), more->begin(), more->end());
  return energies;
}

void need(bool good, const char *what) {
  if (good)
    return;
  std::fprintf(stderr, "FAILED: %s\n", what);
  std::_Exit(1);
}

} // namespace

int main() {
  const auto weights = random_weights();
  const Input input;
  for (const bool single : {false, true}) {
    const House alone(weights, single);
    const auto expected = all_answers(alone, input);
    for (int round = 0; round < 5; round++) {
      House house(weights, single);
      house.set_threads(3);
      std::vector<std::thread> callers;
      for (int caller = 0; caller < 3; caller++)
        callers.emplace_back([&] {
          for (int call = 0; call < 5; call++)
            need(all_answers(house, input) == expected,
                 "threads change a number");
        });
      for (auto &caller : callers)
        caller.join();
      bool refused = false;
      auto wrong = input;
      wrong.species[N_CENTERS - 1] = N_ELEMENTS;
      try {
        all_answers(house, wrong);
      } catch (const std::invalid_argument &) {
        refused = true;
      }
      need(refused, "a species that is no element is taken");
      need(all_answers(house, input) == expected,
           "an error changes the next call");
    }
  }

  Team team(3);
  const auto raise = [](std::size_t part) {
    if (part == 2)
      throw std::runtime_error("part 2");
  };
  for (int round = 0; round < 100; round++) {
    bool thrown = false;
    try {
      team.run(3, raise);
    } catch (const std::runtime_error &) {
      thrown = true;
    }
    need(thrown, "what a thread throws is lost");
  }

  House house(weights, false);
  house.set_threads(3);
  const auto expected = all_answers(house, input);
  const pid_t child = fork();
  if (child == 0) {
    need(all_answers(house, input) == expected,
         "another number in a forked process");
    std::_Exit(0);
  }
  int status = 1;
  need(waitpid(child, &status, 0) == child && status == 0,
       "the forked process fails");
  need(all_answers(house, input) == expected, "another number after a fork");
  std::puts("threads: all well");
}
