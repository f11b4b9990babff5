// SPDX-License-Identifier: MIT

#include "archive.h"

#include "inflate.h"

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace hesspot {
namespace {

constexpr std::string_view END_OF_DIRECTORY = "PK\x05\x06",
                           IN_DIRECTORY = "PK\x01\x02", LOCAL = "PK\x03\x04";

// sizes of the fixed part of these headers
constexpr std::size_t END_SIZE = 22, IN_DIRECTORY_SIZE = 46, LOCAL_SIZE = 30;

constexpr std::size_t LONGEST_COMMENT = 0xffff;

/// All records together, unpacked; a model of 100 MB is far from it.
constexpr std::size_t LARGEST = std::size_t{1} << 31;

enum Method : std::uint16_t { STORED = 0, DEFLATED = 8 };

[[noreturn]] void refuse(const std::string &what) {
  throw std::invalid_argument(what);
}

template <typename T> T number(std::string_view header, std::size_t place) {
  T value;
  std::memcpy(&value, header.data() + place, sizeof value);
  return value;
}

/// `size` bytes from `place` on.
std::string_view part(std::string_view bytes, std::size_t place,
                      std::size_t size) {
  if (place > bytes.size() || size > bytes.size() - place)
    refuse("a part of it lies behind its end");
  return bytes.substr(place, size);
}

std::string_view header(std::string_view bytes, std::size_t place,
                        std::size_t size, std::string_view begin) {
  const auto found = part(bytes, place, size);
  if (found.substr(0, begin.size()) != begin)
    refuse("its directory is damaged");
  return found;
}

/// Where the end of the directory begins; behind it is nothing but a comment.
std::size_t end_of_directory(std::string_view bytes) {
  for (std::size_t back = END_SIZE;
       back <= bytes.size() && back <= END_SIZE + LONGEST_COMMENT; back++) {
    const std::size_t place = bytes.size() - back;
    if (bytes.substr(place, 4) == END_OF_DIRECTORY &&
        number<std::uint16_t>(bytes, place + 20) == back - END_SIZE)
      return place;
  }
  refuse("it has no directory");
}

} // namespace

Archive::Archive(std::string content, const std::string &file)
    : content_(std::make_unique<std::string>(std::move(content))) {
  try {
    read();
  } catch (const std::invalid_argument &cause) {
    throw ModelError("model file " + file + " is " +
                     (content_->empty() ? "empty, " : "") +
                     "no TorchScript archive, or is truncated or damaged (" +
                     cause.what() + ")" + EXPORT_AGAIN);
  }
}

void Archive::read() {
  const std::string_view bytes = *content_;
  const std::size_t end = end_of_directory(bytes);
  const auto last = bytes.substr(end, END_SIZE);
  const std::size_t count = number<std::uint16_t>(last, 10),
                    size = number<std::uint32_t>(last, 12),
                    begin = number<std::uint32_t>(last, 16);
  if (number<std::uint16_t>(last, 4) || number<std::uint16_t>(last, 6) ||
      number<std::uint16_t>(last, 8) != count || count == 0xffff ||
      size == 0xffffffff || begin == 0xffffffff)
    refuse("it is in several parts, or in the form for more than 4 GiB");
  if (begin > end || size > end - begin)
    refuse("a part of it lies behind its end");
  const auto directory = bytes.substr(begin, size);

  std::size_t place = 0, all = 0, packed_together = 0;
  for (std::size_t i = 0; i < count; i++) {
    const auto entry =
        header(directory, place, IN_DIRECTORY_SIZE, IN_DIRECTORY);
    const auto flags = number<std::uint16_t>(entry, 8),
               method = number<std::uint16_t>(entry, 10);
    const auto crc = number<std::uint32_t>(entry, 16);
    const std::size_t packed_size = number<std::uint32_t>(entry, 20),
                      unpacked_size = number<std::uint32_t>(entry, 24),
                      name_size = number<std::uint16_t>(entry, 28),
                      extra_size = number<std::uint16_t>(entry, 30),
                      comment_size = number<std::uint16_t>(entry, 32),
                      local_place = number<std::uint32_t>(entry, 42);
    const auto name = part(directory, place + IN_DIRECTORY_SIZE, name_size);
    place += IN_DIRECTORY_SIZE + name_size + extra_size + comment_size;
    if (packed_size == 0xffffffff || unpacked_size == 0xffffffff ||
        local_place == 0xffffffff)
      refuse("it is in the form for more than 4 GiB");
    if (flags & 1)
      refuse("it is encrypted");
    all += unpacked_size;
    packed_together += packed_size;
    if (all > LARGEST || packed_together > bytes.size())
      refuse("its records are larger together than they can be");

    const auto local = header(bytes, local_place, LOCAL_SIZE, LOCAL);
    const std::size_t data_place = local_place + LOCAL_SIZE +
                                   number<std::uint16_t>(local, 26) +
                                   number<std::uint16_t>(local, 28);
    if (part(bytes, local_place + LOCAL_SIZE,
             number<std::uint16_t>(local, 26)) != name)
      refuse("a record has two names");
    auto data = part(bytes.substr(0, begin), data_place, packed_size);
    if (method == DEFLATED) {
      unpacked_.push_back(
          std::make_unique<std::string>(inflated(data, unpacked_size)));
      data = *unpacked_.back();
    } else if (method != STORED) {
      refuse("a record is compressed in a way that is not known here");
    }
    const auto slash = name.find('/');
    const std::string inner(slash == name.npos ? "" : name.substr(slash + 1));
    if (data.size() != unpacked_size || crc32(data) != crc)
      refuse("the checksum of " + std::string(name) + " does not fit");
    if (!records_.emplace(inner, data).second)
      refuse("it holds the record " + inner + " twice");
  }
}

const std::string_view *Archive::find(std::string_view name) const {
  const auto found = records_.find(name);
  return found == records_.end() ? nullptr : &found->second;
}

std::string_view Archive::at(std::string_view name) const {
  if (const auto *const found = find(name))
    return *found;
  throw std::invalid_argument("there is no record " + std::string(name));
}

std::string read_file(const std::string &path) {
  const std::string remedy =
      "; give the path of a file made by `hesspot export`";
  std::error_code unknown;
  if (std::filesystem::is_directory(path, unknown))
    throw ModelError("model file " + path + " is a folder" + remedy);
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream content;
  if (!stream)
    throw ModelError("model file " + path +
                     " does not exist or cannot be read" + remedy);
  content << stream.rdbuf();
  return content.str();
}

} // namespace hesspot
