// SPDX-License-Identifier: GPL-2.0-or-later
//
// Risk: a damaged model file that the LAMMPS plugin reads beyond its end. The
// records of a file are damaged at random, the hashes in them set right again,
// so that what follows the check of the hashes meets the damage; then the file
// is read, its weights are given to the kernel, and its fingerprint is
// replayed. Each time that ends well or in a sentence.
//
//     model_file FOLDER-OF-RECORDS [TRIALS]

#include "archive.h"
#include "metadata.h"
#include "sha256.h"
#include "torchscript.h"

#include <hesspot/model.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

namespace {

hesspot::Archive records;

std::string content_of(const std::filesystem::path &path) {
  std::ostringstream content;
  content << std::ifstream(path, std::ios::binary).rdbuf();
  return content.str();
}

void replace(std::string &text, const std::string &old,
             const std::string &now) {
  if (const auto place = text.find(old); place != std::string::npos)
    text.replace(place, old.size(), now);
}

/// Some bytes changed, taken away, or doubled; with a bias for the first ones,
/// which are counts.
void damage(std::string &bytes, std::mt19937 &random) {
  if (bytes.empty())
    return;
  const auto below = [&](std::size_t end) { return random() % end; };
  const std::size_t place =
      below(below(2) ? bytes.size() : std::min<std::size_t>(bytes.size(), 120));
  switch (below(4)) {
  case 0:
    bytes[place] = static_cast<char>(random());
    break;
  case 1:
    bytes[place] = static_cast<char>(bytes[place] ^ (1 << below(8)));
    break;
  case 2:
    bytes.erase(place, 1 + below(64));
    break;
  default:
    bytes.insert(place, bytes.substr(place, 1 + below(64)));
  }
}

/// The file's own words for its hashes, after damage.
void rehash(hesspot::Archive &archive, const hesspot::Archive &whole) {
  std::string &metadata = archive[hesspot::METADATA];
  for (const char *const name : {hesspot::WEIGHTS, hesspot::EDGES})
    replace(metadata, hesspot::sha256(whole.at(name)),
            hesspot::sha256(archive.at(name)));
  archive[hesspot::METADATA_HASH] = hesspot::sha256(metadata);
}

} // namespace

namespace hesspot {

Archive read_archive(const std::string &, const std::string &) {
  return records;
}

std::unique_ptr<Model> load_script(const std::string &, const Metadata &,
                                   const std::string &, const Options &) {
  throw ModelError("there is no TorchScript here");
}

} // namespace hesspot

int main(int argc, char **argv) {
  if (argc < 2)
    return 2;
  const std::filesystem::path folder = argv[1];
  const int trials = argc > 2 ? std::atoi(argv[2]) : 500;
  for (const auto &entry :
       std::filesystem::recursive_directory_iterator(folder))
    if (entry.is_regular_file())
      records[std::filesystem::relative(entry, folder)] = content_of(entry);
  const hesspot::Archive whole = records;
  hesspot::Options options;
  options.verify = true;
  std::printf(
      "%s\n",
      hesspot::load_model_content("", "whole", options)->describe().c_str());

  std::mt19937 random(1);
  int refused = 0;
  for (int trial = 0; trial < trials; trial++) {
    records = whole;
    const char *const names[] = {hesspot::METADATA, hesspot::WEIGHTS,
                                 hesspot::EDGES};
    damage(records[names[random() % 3]], random);
    if (random() % 10)
      rehash(records, whole);
    try {
      hesspot::load_model_content("", "damaged", options);
    } catch (const hesspot::ModelError &) {
      refused++;
    }
  }
  std::printf("%d of %d damaged files refused in a sentence\n", refused,
              trials);
  return refused > trials / 2 ? 0 : 1;
}
