// SPDX-License-Identifier: MIT
//
// Risk: a damaged model file that is read beyond its end, or gives another
// answer. Files are damaged at random: bytes of the archive and the numbers in
// its headers; or the records, in an archive that is whole again and whose
// hashes are set right again, so that what follows these checks meets the
// damage. Then a file is read, its weights are given to the kernel, and its
// fingerprint is replayed. Each time that ends well, with the answers of the
// trained model, or in a sentence.
//
//     model_file MODEL.pt [TRIALS [SEED]]

#include "model_file.h"
#include "block.h"
#include "inflate.h"
#include "json.h"
#include "sha256.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>

namespace {

using Records = std::map<std::string, std::string>;

std::mt19937 generator;

std::size_t below(std::size_t end) { return generator() % end; }

template <typename T> void append(std::string &bytes, T value) {
  char own[sizeof value];
  std::memcpy(own, &value, sizeof value);
  bytes.append(own, sizeof own);
}

/// What a header in an archive says of a record, from its version to the size
/// of what follows its name.
std::string described(const std::string &name, const std::string &data) {
  std::string bytes;
  for (const std::uint16_t word : {20, 0, 0, 0, 0})
    append(bytes, word);
  append<std::uint32_t>(bytes, hesspot::crc32(data));
  append(bytes, static_cast<std::uint32_t>(data.size()));
  append(bytes, static_cast<std::uint32_t>(data.size()));
  append(bytes, static_cast<std::uint16_t>(name.size()));
  append<std::uint16_t>(bytes, 0);
  return bytes;
}

/// A zip archive of them, in which nothing is compressed.
std::string archive_of(const Records &records) {
  std::string archive, directory;
  for (const auto &[inner, data] : records) {
    const std::string name = "archive/" + inner;
    directory +=
        "PK\x01\x02" + std::string("\x14\0", 2) + described(name, data);
    directory += std::string(10, '\0');
    append(directory, static_cast<std::uint32_t>(archive.size()));
    directory += name;
    archive += "PK\x03\x04" + described(name, data) + name + data;
  }
  const auto place = static_cast<std::uint32_t>(archive.size());
  archive += directory + "PK\x05\x06" + std::string(4, '\0');
  for (int i = 0; i < 2; i++)
    append(archive, static_cast<std::uint16_t>(records.size()));
  append(archive, static_cast<std::uint32_t>(directory.size()));
  append(archive, place);
  append<std::uint16_t>(archive, 0);
  return archive;
}

void replace(std::string &text, const std::string &old,
             const std::string &now) {
  if (const auto place = text.find(old); place != std::string::npos)
    text.replace(place, old.size(), now);
}

/// What is hashed takes the time of a trial: all of the TorchScript but one
/// record is left out, and its hash is that of the rest.
void leave_out_most_of_the_script(Records &records) {
  constexpr const char *KEPT = "version";
  std::erase_if(records, [](const auto &record) {
    return !record.first.starts_with("extra/") && record.first != KEPT;
  });
  std::string &metadata = records[hesspot::METADATA];
  const std::string kept = records[KEPT];
  replace(metadata, hesspot::Json::parse(metadata).at("script_sha256").text(),
          hesspot::sha256(KEPT + (" " + std::to_string(kept.size())) + "\n" +
                          kept));
  records[hesspot::METADATA_HASH] = hesspot::sha256(metadata);
}

/// Some bytes changed, taken away, or doubled; with a bias for the first ones,
/// which are counts.
void damage(std::string &bytes) {
  if (bytes.empty())
    return;
  const std::size_t place =
      below(below(2) ? bytes.size() : std::min<std::size_t>(bytes.size(), 120));
  switch (below(4)) {
  case 0:
    bytes[place] = static_cast<char>(generator());
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

/// Other numbers in one of the headers of an archive.
void damage_header(std::string &archive) {
  constexpr const char *BEGINNINGS[] = {"PK\x01\x02", "PK\x03\x04",
                                        "PK\x05\x06"};
  constexpr std::uint32_t VALUES[] = {0,      1,          0xff,
                                      0xffff, 0x7fffffff, 0xffffffff};
  const char *const begin = BEGINNINGS[below(3)];
  std::size_t place = archive.find(begin, below(archive.size()));
  if (place == std::string::npos)
    place = archive.find(begin);
  place += 4 + 2 * below(21);
  const std::uint32_t value =
      below(2) ? VALUES[below(std::size(VALUES))]
               : static_cast<std::uint32_t>(below(2 * archive.size()));
  const std::size_t size = below(2) ? 2 : 4;
  if (place + size <= archive.size())
    std::memcpy(archive.data() + place, &value, size);
}

/// One of the records damaged; mostly with the hashes that it has then.
std::string with_damaged_record(const Records &whole) {
  const char *const names[] = {hesspot::METADATA, hesspot::WEIGHTS,
                               hesspot::EDGES};
  Records records = whole;
  damage(records[names[below(3)]]);
  if (below(10)) {
    std::string &metadata = records[hesspot::METADATA];
    for (const char *const name : {hesspot::WEIGHTS, hesspot::EDGES})
      replace(metadata, hesspot::sha256(whole.at(name)),
              hesspot::sha256(records.at(name)));
    records[hesspot::METADATA_HASH] = hesspot::sha256(metadata);
  }
  return archive_of(records);
}

std::string damaged(std::string file, const Records &whole) {
  switch (below(5)) {
  case 0:
    for (std::size_t n = 1 + below(3); n; n--)
      damage(file);
    return file;
  case 1:
    return file.substr(0, below(file.size()));
  case 2:
    damage_header(file);
    return file;
  default:
    return with_damaged_record(whole);
  }
}

void use(const std::string &content, const char *name) {
  const hesspot::ModelFile file(content, name);
  const auto model = file.kernel(below(4) == 0);
  hesspot::check_fingerprint(file.fingerprint(), hesspot::replay_of(*model),
                             model->is_single(), name);
}

} // namespace

int main(int argc, char **argv) {
  if (argc < 2)
    return 2;
  const int trials = argc > 2 ? std::atoi(argv[2]) : 20000;
  generator.seed(argc > 3 ? std::atoi(argv[3]) : 1);
  const std::string file = hesspot::read_file(argv[1]);
  Records whole;
  const hesspot::Archive archive(file, argv[1]);
  for (const auto &[name, data] : archive.records())
    whole[name] = data;
  use(file, argv[1]);
  leave_out_most_of_the_script(whole);
  use(archive_of(whole), "the same, made here");

  int refused = 0;
  for (int trial = 0; trial < trials; trial++) {
    try {
      use(damaged(file, whole), "damaged");
    } catch (const hesspot::ModelError &) {
      refused++;
    } catch (const hesspot::NoKernel &) {
      refused++;
    }
    if (trial % 100000 == 99999)
      std::printf("%d files\n", trial + 1), std::fflush(stdout);
  }
  std::printf("%d of %d damaged files refused in a sentence\n", refused,
              trials);
  return refused > trials / 2 ? 0 : 1;
}
