// profile/text.h - messages out of parts, over both kinds of string_view.
//
// Threads  any.
// Signals  unsafe: allocates.
// Source   Abseil may be built with a string_view of its own (Debian's is); std::string_view
//          does not convert to it, and the difference must not show outside this file.
#pragma once

#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace heldby {

[[nodiscard]] inline absl::string_view AsPiece(std::string_view text) {
  return {text.data(), text.size()};
}
template <typename T>
[[nodiscard]] const T& AsPiece(const T& part) {
  return part;
}

/// absl::StrCat() that also takes std::string_view.
template <typename... Parts>
[[nodiscard]] std::string Concat(const Parts&... parts) {
  return absl::StrCat(AsPiece(parts)...);
}

}  // namespace heldby
