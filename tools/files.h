// tools/files.h - whole files in and out.
//
// Threads  one.
// Bounds   a file is read up to the size the caller states.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "heldby/status.h"

namespace heldby::tools {

/// errno as a Status; `what` is the file.
[[nodiscard]] Status SystemError(const std::string& what);

/// "-" is standard input.
/// kResourceExhausted  more than max_bytes
[[nodiscard]] Result<std::string> ReadAll(const std::string& path, std::size_t max_bytes);

[[nodiscard]] Status WriteAll(int fd, std::string_view bytes, const std::string& name);

/// The file appears whole or not at all; an old one is replaced, and keeps its mode.
[[nodiscard]] Status WriteFile(const std::string& path, std::string_view bytes);

/// `prefix` 001 `suffix`, or the first number that is still free: nothing is replaced. Returns
/// the name.
[[nodiscard]] Result<std::string> WriteNewFile(const std::string& prefix,
                                               const std::string& suffix,
                                               std::string_view bytes);

}  // namespace heldby::tools
