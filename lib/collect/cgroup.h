// collect/cgroup.h - the memory limit that this process is under, and who else uses it up.
//
// Threads  any.   Signals  unsafe: allocates, reads files.   Units  bytes.
// Source   cgroups(7), cgroup-v2.rst, memory.rst (v1); proc_pid_mountinfo(5).
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace heldby::collect {

/// Directories of the memory controller, the process's own first, then those around it as far
/// as they are visible: in a container its own is usually all.
struct CgroupDirs {
  bool is_v2 = false;
  std::vector<std::string> dirs{};
};

/// `proc`: "/proc/thread-self". Empty where there is no memory controller.
[[nodiscard]] CgroupDirs FindCgroupDirs(const std::string& proc);

struct CgroupMemory {
  bool is_limited = false;
  std::int64_t limit_bytes = 0;  // of the group with the least room left
  std::int64_t used_bytes = 0;   // of that group, without file pages that can go at once
  /// What the process's own group uses, with those below it: anon, file (tmpfs, too), kernel,
  /// sock; those that this kernel tells.
  std::vector<std::pair<std::string, std::int64_t>> by_kind{};
};

[[nodiscard]] CgroupMemory ReadCgroupMemory(const CgroupDirs& groups);

}  // namespace heldby::collect
