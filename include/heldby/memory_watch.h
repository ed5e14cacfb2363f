// heldby/memory_watch.h - who held the memory, in a file, before the OOM killer comes.
//
// Threads  Start(), Stop(), destruction: one thread at a time. One watch per process.
// Signals  unsafe. Its thread blocks every signal.
// Self     its thread is absent from every profile.
// Units    bytes, seconds.
// Allocates  at Start(), about a megabyte, touched and kept; nothing later.
// Bounds   a dump is 8 MiB at most, a folder keeps 64 of them.
// Source   docs/oom.md.
#pragma once

#include <cstdint>
#include <string>

#include "heldby/status.h"

namespace heldby {

struct MemoryWatchOptions {
  /// A folder that exists, on a disk: where dumps and the black box go.
  std::string directory{};

  /// A level that was reached is not written again sooner than this.
  std::int64_t cooldown_seconds = 300;

  /// No dump is written that would leave less than this free.
  std::int64_t least_free_bytes = 64 << 20;
};

/// Watches the way to the tightest limit of memory (control group, RLIMIT_AS, the host itself),
/// and writes a heap profile with its holders at 80, 90 and 95 % of it, or seconds before.
/// `heldby convert` reads what it writes. HELDBY_DUMP_DIR does the same without a line of code.
class MemoryWatch {
 public:
  /// kInvalidArgument     an option is wrong; the message names option, value and what goes
  ///
  /// kUnavailable         no file can be written there, or it would be memory itself (tmpfs)
  ///
  /// kFailedPrecondition  this process is watched already
  ///
  /// Once exit() runs its handlers: a watch that is stopped already.
  [[nodiscard]] static Result<MemoryWatch> Start(const MemoryWatchOptions& options);

  MemoryWatch(MemoryWatch&&) noexcept;
  MemoryWatch& operator=(MemoryWatch&&) noexcept;
  ~MemoryWatch();  // Stop()

  /// Ends the thread and takes the black box away. So does exit(). Idempotent.
  void Stop();

 private:
  explicit MemoryWatch(std::uint64_t watch) : watch_(watch) {}
  std::uint64_t watch_;  // 0: stopped, or moved from
};

}  // namespace heldby
