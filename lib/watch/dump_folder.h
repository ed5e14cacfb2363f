// watch/dump_folder.h - the folder that dumps and black boxes go to.
//
// Threads  one.
// Signals  unsafe.
// Allocates  never: names are made in place, the folder's descriptor is opened beforehand.
// Units    bytes.
// Bounds   kMostDumps dumps, whole or cut, and kMostBoxes boxes of processes that are gone are
//          kept of each user in a folder, the newest.
// Source   statfs(2), flock(2), getdents64(2); docs/oom.md. A live box is one whose lock is
//          held: that is true in every PID namespace.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "watch/owned_file.h"

namespace heldby::watch {

inline constexpr std::size_t kMostDumps = 64;
inline constexpr std::size_t kMostBoxes = 16;

/// Why nothing was written.
enum class Refusal : std::uint8_t { kNone, kMemoryFile, kShortDisk, kFile, kSmallProcess };
inline constexpr int kRefusals = 5;
/// "tmpfs", "disk_short", "file", "small_process".
const char* NameOf(Refusal refusal);

/// A name in the folder: "heldby.PID.TIME.LEVEL.heap", "heldby.PID.TIME.box".
struct FileName {
  static constexpr std::size_t kBytes = 96;
  char text[kBytes] = "";
};
FileName MakeName(std::int64_t pid, std::int64_t time_seconds, std::string_view ending);

class DumpFolder {
 public:
  /// False: errno says why.
  bool Open(const char* path);
  void Close() { file_.Close(); }
  /// For the ...at() calls. REQUIRES for those that change something: Examine() was content.
  int fd() const { return file_.fd(); }

  /// kMemoryFile: its files are memory (tmpfs, ramfs), and count against the limit themselves.
  /// kShortDisk: less than `bytes` are free for us. kFile: it cannot be told.
  Refusal Examine(std::int64_t bytes, std::int64_t* free_bytes) const;

  /// Takes away the box that this process had before it called exec: nobody was killed. Its
  /// text has `mark` in its first lines.
  void RemoveEarlierBox(std::int64_t pid, std::string_view mark, std::span<char> buffer) const;

  /// Takes away the oldest dumps, and boxes of processes that are gone, beyond what is kept.
  void Sweep(std::span<char> buffer) const;

 private:
  OwnedFile file_;
};

}  // namespace heldby::watch
