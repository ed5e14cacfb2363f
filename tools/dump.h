// tools/dump.h - a dump or a black box as a profile with names.
//
// Threads  one.
// Bounds   kMaxProfileBytes.
#pragma once

#include <string>
#include <string_view>

#include "heldby/status.h"

namespace heldby::tools {

/// `bytes` themselves, if they are no dump (exporters/pprof/dump.h), plain or in gzip.
/// Otherwise profile.proto, with names from the files on this machine.
[[nodiscard]] Result<std::string> WithNames(std::string bytes);

/// What stands at the beginning of a dump, for people.
/// kInvalidArgument  it is no dump
[[nodiscard]] Result<std::string> SummaryOf(const std::string& bytes);

}  // namespace heldby::tools
