// exporters/http/target.h - the second word of a request line: path and query, decoded.
//
// Threads  values and pure functions: any.
// Signals  unsafe: allocates.
// Units    none.
// Source   RFC 3986 for escapes; application/x-www-form-urlencoded ("+" is a space) in the
// query.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "heldby/status.h"

namespace heldby::http {

struct Target {
  std::string authority;  // of the absolute form "http://host:port/path"; otherwise empty
  std::string path;       // decoded
  std::string raw_query;  // as sent: /symbol reads addresses from it, not parameters
};

/// For error texts, which quote what the client sent: bounded, and with nothing in it that a
/// terminal would obey.
[[nodiscard]] std::string Quoted(std::string_view text);

/// kInvalidArgument  a control character or a space, neither "/path" nor "http://host/path", or
/// a broken escape in the path.
[[nodiscard]] Result<Target> ParseTarget(std::string_view target);

/// The parameters of a query. A name given more than once counts once: the first wins.
class Query {
 public:
  /// kInvalidArgument  a broken escape; the message names the parameter.
  [[nodiscard]] static Result<Query> Parse(std::string_view raw_query);

  /// The value, or "" if the parameter is absent: the endpoint never tells the two apart.
  [[nodiscard]] std::string_view Get(std::string_view name) const;

 private:
  std::vector<std::pair<std::string, std::string>> parameters_;
};

/// A decimal integer with an optional sign and nothing around it.
[[nodiscard]] std::optional<std::int64_t> ParseInteger(std::string_view text);

}  // namespace heldby::http
