// symbolize/modules.h - which file a code address belongs to, now or earlier.
//
// Threads  one at a time; a Module is immutable and may be shared.
// Signals  unsafe: reads /proc, allocates.
// Units    addresses as in /proc/self/maps; file offsets in bytes.
// Bounds   4096 executable segments are remembered, the live ones first.
// Source   /proc/self/maps, which needs no loader lock: dl_iterate_phdr can wait on a dlopen()
//          that waits on us. Build-ids come from the mapped memory: the file under that name
//          may have been replaced since.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "symbolize/byte_source.h"

namespace heldby::symbolize {

/// A loaded file.
struct Module {
  std::uint32_t id = 0;     // never reused
  std::string path;         // without " (deleted)"
  std::string build_id;     // lower-case hex, as in memory; empty: none
  std::string fingerprint;  // ELF headers as in memory, for files without build-id
  std::uint64_t inode = 0;
  bool is_main = false;
  bool is_vdso = false;
};

/// One executable line of /proc/self/maps.
struct Segment {
  std::uint64_t start = 0;
  std::uint64_t limit = 0;
  std::uint64_t file_offset = 0;
  std::shared_ptr<const Module> module;

  bool Contains(std::uint64_t address) const { return address >= start && address < limit; }
};

class ModuleMap {
 public:
  /// Looks again. What was seen once and is gone stays known until something else is mapped
  /// there: the stacks of an unloaded plugin still have their file.
  void Refresh();

  /// nullptr: no file is or was there. Valid until the next Refresh().
  const Segment* Find(std::uint64_t address) const;

  /// The executable's first segment; nullptr only if /proc is not readable.
  const Segment* main() const;

  const std::vector<Segment>& segments() const { return segments_; }

 private:
  struct Line;
  static bool ParseLine(const std::string& text, Line* line);
  std::shared_ptr<const Module> ModuleOf(const Line& line, std::uint64_t header_address,
                                         std::uint64_t header_limit);
  void Remember(std::vector<Segment> live);

  std::vector<Segment> segments_;  // ascending, disjoint
  std::shared_ptr<const Module> main_;
  std::uint64_t main_inode_ = 0;
  std::uint32_t next_id_ = 1;
};

/// The file a module was loaded from, opened for reading and checked to be that very file, or
/// invalid: gone and out of reach, or replaced by another.
[[nodiscard]] UniqueFd OpenModule(const Segment& segment);

}  // namespace heldby::symbolize
