// SPDX-License-Identifier: MIT

#include "json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <stdexcept>

namespace hesspot {
namespace {

constexpr int DEEPEST = 100;

} // namespace

class JsonParser {
public:
  explicit JsonParser(std::string_view text) : text_(text) {}

  Json document() {
    Json json = value(0);
    if (next() != '\0' || place_ != text_.size())
      refuse();
    return json;
  }

private:
  std::string_view text_;
  std::size_t place_ = 0;

  [[noreturn]] void refuse() const {
    throw std::invalid_argument("at byte " + std::to_string(place_) +
                                ": it is no JSON");
  }

  /// The next character that is no space, not taken; '\0' at the end.
  char next() {
    while (place_ < text_.size() &&
           std::string_view(" \t\r\n").find(text_[place_]) !=
               std::string_view::npos)
      place_++;
    return place_ < text_.size() ? text_[place_] : '\0';
  }

  bool takes(char character) {
    if (next() != character || place_ == text_.size())
      return false;
    place_++;
    return true;
  }

  void need(char character) {
    if (!takes(character))
      refuse();
  }

  bool takes_word(std::string_view word) {
    if (text_.substr(place_, word.size()) != word)
      return false;
    place_ += word.size();
    return true;
  }

  Json value(int depth) {
    if (depth > DEEPEST)
      refuse();
    Json json;
    switch (next()) {
    case '{':
      json.value_ = entries(depth);
      break;
    case '[':
      json.value_ = items(depth);
      break;
    case '"':
      json.value_ = string();
      break;
    default:
      if (takes_word("true"))
        json.value_ = true;
      else if (takes_word("false"))
        json.value_ = false;
      else if (!takes_word("null"))
        json.value_ = number();
    }
    return json;
  }

  Json::Entries entries(int depth) {
    Json::Entries entries;
    need('{');
    if (takes('}'))
      return entries;
    do {
      if (next() != '"')
        refuse();
      std::string name = string();
      need(':');
      entries.emplace_back(std::move(name), value(depth + 1));
    } while (takes(','));
    need('}');
    return entries;
  }

  Json::Items items(int depth) {
    Json::Items items;
    need('[');
    if (takes(']'))
      return items;
    do
      items.push_back(value(depth + 1));
    while (takes(','));
    need(']');
    return items;
  }

  double number() {
    const std::size_t first = place_ + text_.substr(place_).starts_with('-');
    if (first >= text_.size() || text_[first] < '0' || text_[first] > '9')
      refuse(); // what from_chars takes besides: inf, nan
    double value = 0.0;
    const char *const begin = text_.data();
    const auto [end, problem] =
        std::from_chars(begin + place_, begin + text_.size(), value);
    if (problem != std::errc())
      refuse();
    place_ = static_cast<std::size_t>(end - begin);
    return value;
  }

  std::string string() {
    std::string string;
    for (place_++;; place_++) {
      if (place_ >= text_.size())
        refuse();
      const char character = text_[place_];
      if (character == '"')
        break;
      if (static_cast<unsigned char>(character) < 0x20)
        refuse();
      if (character == '\\')
        add_escaped(string);
      else
        string += character;
    }
    place_++;
    return string;
  }

  /// Leaves the place at the last character of the escape.
  void add_escaped(std::string &string) {
    constexpr std::string_view ESCAPES = "\"\\/bfnrt",
                               MEANINGS = "\"\\/\b\f\n\r\t";
    if (++place_ >= text_.size())
      refuse();
    if (const auto found = ESCAPES.find(text_[place_]); found != ESCAPES.npos) {
      string += MEANINGS[found];
      return;
    }
    std::uint32_t point = unit();
    if (point >= 0xd800 && point < 0xdc00) {
      if (text_.substr(place_ + 1, 2) != "\\u")
        refuse();
      place_ += 2;
      const std::uint32_t low = unit();
      if (low < 0xdc00 || low > 0xdfff)
        refuse();
      point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
    } else if (point >= 0xdc00 && point < 0xe000) {
      refuse();
    }
    add_utf8(string, point);
  }

  /// The four digits behind a 'u', which is the present character.
  std::uint32_t unit() {
    if (text_[place_] != 'u' || text_.size() - place_ < 5)
      refuse();
    std::uint32_t value = 0;
    const char *const begin = text_.data() + place_ + 1;
    if (std::from_chars(begin, begin + 4, value, 16).ptr != begin + 4)
      refuse();
    place_ += 4;
    return value;
  }

  static void add_utf8(std::string &string, std::uint32_t point) {
    const auto follow = [&](int shift) {
      string += static_cast<char>(0x80 | (point >> shift & 0x3f));
    };
    if (point < 0x80) {
      string += static_cast<char>(point);
    } else if (point < 0x800) {
      string += static_cast<char>(0xc0 | point >> 6);
      follow(0);
    } else if (point < 0x10000) {
      string += static_cast<char>(0xe0 | point >> 12);
      follow(6);
      follow(0);
    } else {
      string += static_cast<char>(0xf0 | point >> 18);
      follow(12);
      follow(6);
      follow(0);
    }
  }
};

Json Json::parse(std::string_view text) { return JsonParser(text).document(); }

template <typename T> const T &Json::as(const char *what) const {
  if (const T *const found = std::get_if<T>(&value_))
    return *found;
  throw std::invalid_argument(std::string("it is not ") + what);
}

template const bool &Json::as(const char *) const;
template const double &Json::as(const char *) const;
template const std::string &Json::as(const char *) const;
template const Json::Items &Json::as(const char *) const;

int Json::integer() const {
  const double value = number();
  if (value != std::floor(value) || std::fabs(value) > 1e9)
    throw std::invalid_argument("it is no whole number");
  return static_cast<int>(value);
}

std::vector<std::string> Json::texts() const {
  std::vector<std::string> texts;
  for (const Json &item : items())
    texts.push_back(item.text());
  return texts;
}

const Json *Json::find(std::string_view name) const {
  const Entries &entries = as<Entries>("an object");
  const auto found =
      std::find_if(entries.rbegin(), entries.rend(),
                   [&](const auto &entry) { return entry.first == name; });
  return found == entries.rend() ? nullptr : &found->second;
}

const Json &Json::at(std::string_view name) const {
  if (const Json *const found = find(name))
    return *found;
  throw std::invalid_argument(std::string(name) + ": it is missing");
}

bool Json::operator==(const Json &other) const {
  const auto *const mine = std::get_if<Entries>(&value_);
  const auto *const others = std::get_if<Entries>(&other.value_);
  if (!mine || !others)
    return value_ == other.value_;
  return mine->size() == others->size() &&
         std::all_of(mine->begin(), mine->end(), [&](const auto &entry) {
           const Json *const found = other.find(entry.first);
           return found && *found == entry.second;
         });
}

} // namespace hesspot
