// watch/modules.h - what code is loaded where, in a table that is there beforehand.
//
// Threads  one.
// Signals  unsafe.
// Allocates  never.
// Units    addresses as in /proc/self/maps; file offsets in bytes.
// Bounds   kMostModules executable mappings and kPathBytes of their paths; dropped() counts
//          what is beyond.
// Source   proc_pid_maps(5). Build ids from the mapped memory, read as collect/safe_text.h
//          reads texts: the file under that name may be another by now, and the mapping gone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "core/core.h"

namespace heldby::watch {

struct CodeModule {
  std::uint64_t start = 0;
  std::uint64_t limit = 0;
  std::uint64_t file_offset = 0;
  std::uint32_t path_at = 0;
  std::uint16_t path_bytes = 0;
  std::uint16_t tag = 0;  // as HeapSite::modules; 0: not known
  std::uint8_t build_id_bytes = 0;
  std::uint8_t build_id[20] = {};
};

class CodeModules {
 public:
  static constexpr std::size_t kMostModules = 1024;
  static constexpr std::size_t kPathBytes = 96 << 10;

  /// `maps_fd`: /proc/thread-self/maps of the calling thread, opened before.
  void Refresh(const core::CoreApi& core, int maps_fd, std::span<char> buffer);

  std::span<const CodeModule> all() const { return {modules_, count_}; }
  std::uint64_t dropped() const { return dropped_; }
  const CodeModule* Find(std::uint64_t address) const;
  std::string_view PathOf(const CodeModule& module) const {
    return {paths_ + module.path_at, module.path_bytes};
  }
  /// The path's last part.
  std::string_view FileOf(const CodeModule& module) const;

 private:
  struct Line;
  void Take(const core::CoreApi& core, std::string_view text);
  void Add(const core::CoreApi& core, const Line& line);

  std::uint64_t header_address_ = 0;  // where the file of the last line with offset 0 begins
  std::uint64_t header_inode_ = 0;
  std::size_t count_ = 0;
  std::size_t paths_used_ = 0;
  std::uint64_t dropped_ = 0;
  CodeModule modules_[kMostModules];
  char paths_[kPathBytes];
};

}  // namespace heldby::watch
