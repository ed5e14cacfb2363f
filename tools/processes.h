// tools/processes.h - which process serves where.
//
// Threads  one.
// Source   served processes announce themselves with a memfd whose name is their address; it is
//          found by looking through /proc, with no file or socket of our own in between.
#pragma once

#include <string>
#include <vector>

namespace heldby::tools {

[[nodiscard]] std::vector<std::string> NamesIn(const std::string& folder);

/// "http://127.0.0.1:6060" or "unix:/path". Empty: this process serves nothing (or is not ours
/// to look into).
[[nodiscard]] std::string AddressOf(const std::string& process);

}  // namespace heldby::tools
