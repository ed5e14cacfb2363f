// watch/limits.h - what limits this process's memory, read anew at every look.
//
// Threads  one.
// Signals  unsafe.
// Allocates  Open() does; Read() never: descriptors opened before, a buffer of the caller's.
// Units    bytes.
// Bounds   the process's own control group and 15 around it; /proc and cgroup files up to the
//          size of the buffer.
// Source   cgroup-v2.rst, memory.rst (v1), getrlimit(2), proc_meminfo(5); docs/oom.md for what
//          counts when.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "watch/levels.h"
#include "watch/owned_file.h"

namespace heldby::watch {

class Limits {
 public:
  /// To be called by the thread that calls Read(): files of /proc are that thread's.
  void Open();
  void Close();

  /// As many as there are places; the order never changes.
  std::span<const Reading> Read(std::int64_t now_ns, std::span<char> buffer);

  /// Resident, of this process alone; as of the last Read().
  std::int64_t resident_bytes() const { return resident_bytes_; }

  /// "cgroup /sys/fs/cgroup/x", "RLIMIT_AS", "memory of the host".
  struct Name {
    const char* kind;
    const char* where;
  };
  Name NameOf(std::size_t place) const;

 private:
  static constexpr std::size_t kMostGroups = 16;

  struct Group {
    OwnedFile limit;
    OwnedFile used;
    OwnedFile stat;
    std::int64_t inactive_bytes = 0;
    std::int64_t inactive_read_ns = 0;
    char dir[256] = "";
  };

  void ReadGroup(Group* group, std::int64_t now_ns, std::span<char> buffer, Reading* reading);
  void ReadAddressSpace(std::span<char> buffer, Reading* reading);
  void ReadHost(std::int64_t now_ns, std::span<char> buffer, Reading* reading);

  bool is_v2_ = false;
  std::size_t groups_count_ = 0;
  Group groups_[kMostGroups];
  OwnedFile statm_;
  OwnedFile meminfo_;
  std::int64_t page_bytes_ = 4096;
  std::int64_t host_read_ns_ = 0;
  std::int64_t resident_bytes_ = 0;
  Reading readings_[kMostLimits];
};

}  // namespace heldby::watch
