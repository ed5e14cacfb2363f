// collect/small_file.h - a file below /proc or /sys as text.
//
// Threads  any.   Signals  unsafe: allocates.
// Bounds   64 KiB; what is behind is left out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace heldby::collect {

/// Empty: it is not there, or may not be read.
[[nodiscard]] std::string SmallFile(const std::string& path);

/// The number behind `key` at the beginning of a line: "VmRSS:", "sock ".
[[nodiscard]] std::optional<std::int64_t> NumberAfter(std::string_view text,
                                                      std::string_view key);

}  // namespace heldby::collect
