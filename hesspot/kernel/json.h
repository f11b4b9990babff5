// SPDX-License-Identifier: MIT
//
// JSON (RFC 8259), as the metadata of an exported file have it.

#ifndef HESSPOT_JSON_H
#define HESSPOT_JSON_H

#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace hesspot {

/// A value, and what is in it. What is asked for and is not there is
/// std::invalid_argument, in words that follow "has a bad entry".
class Json {
public:
  /// std::invalid_argument for a text that is no JSON, or nested more deeply
  /// than any here.
  static Json parse(std::string_view text);

  bool is_null() const { return std::holds_alternative<Null>(value_); }
  bool boolean() const { return as<bool>("true or false"); }
  double number() const { return as<double>("a number"); }
  int integer() const;
  const std::string &text() const { return as<std::string>("a string"); }
  const std::vector<Json> &items() const { return as<Items>("a list"); }
  std::vector<std::string> texts() const;

  /// Null if the object has no such entry; the last one of several.
  const Json *find(std::string_view name) const;

  const Json &at(std::string_view name) const;

  bool operator==(const Json &other) const;

private:
  using Null = std::monostate;
  using Items = std::vector<Json>;
  using Entries = std::vector<std::pair<std::string, Json>>;

  friend class JsonParser;

  std::variant<Null, bool, double, std::string, Items, Entries> value_;

  template <typename T> const T &as(const char *what) const;
};

} // namespace hesspot

#endif
