// exporters/trace/json_text.h - a text of the program's as JSON.
//
// Threads  any.   Signals  unsafe: allocates.
// Bounds   at most six bytes for one.
// Source   RFC 8259, and RFC 3629 for what is a character.
#pragma once

#include <string>
#include <string_view>

namespace heldby {

/// With its quotes, appended. Bytes that are no UTF-8, such as those of a text that was cut in
/// the middle of a character, become U+FFFD each.
void AppendJsonQuoted(std::string* json, std::string_view text);

[[nodiscard]] inline std::string JsonQuoted(std::string_view text) {
  std::string quoted;
  AppendJsonQuoted(&quoted, text);
  return quoted;
}

}  // namespace heldby
