// watch/watcher.h - the thread that looks how near the limit is, and writes in time.
//
// Threads  Start, Stop: one at a time. counts(): any.
// Signals  its thread blocks them all.
// Self     its thread is the profiler's own.
// Allocates  at Start(); what the thread does then never does, and needs no address space.
// Units    bytes, nanoseconds.
// Bounds   docs/architecture.md.
// Source   docs/oom.md.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "core/core.h"
#include "watch/dump_folder.h"
#include "watch/levels.h"

namespace heldby::watch {

struct WatchOptions {
  const char* folder = "";
  std::int64_t cooldown_ns = 300'000'000'000;
  std::int64_t least_free_bytes = 64 << 20;
};

/// Of the process, over all watchers it has had.
struct WatchCounts {
  std::atomic<std::uint64_t> dumps[kLevels] = {};
  std::atomic<std::uint64_t> refused[kRefusals] = {};
  std::atomic<std::uint64_t> box_writes{0};
  std::atomic<std::uint64_t> box_failures{0};
  std::atomic<std::int64_t> time_to_limit_ns{kNever};
  std::atomic<std::int64_t> cpu_ns{0};
  std::atomic<bool> is_running{false};
};
WatchCounts& counts();

class Watcher {
 public:
  /// Nothing, and `why` says what is wrong in words, with room for `kWhyBytes`.
  static constexpr std::size_t kWhyBytes = 256;
  static std::unique_ptr<Watcher> Start(const core::CoreApi& core, const WatchOptions& options,
                                        char (&why)[kWhyBytes]);

  /// Ends the thread; the black box goes, as nobody was killed. A thread that does not come
  /// back from a disk within seconds is left where it is, with all it uses.
  static void End(std::unique_ptr<Watcher> watcher);

  /// REQUIRES: End() was called, or the thread was never started, or ForgetInChild().
  ~Watcher();
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;

  /// In a forked child, which has the memory and the descriptors but not the thread.
  void ForgetInChild();

 private:
  struct Memory;  // everything the thread needs, in one mapping
  Watcher(const core::CoreApi& core, const WatchOptions& options, Memory* memory);

  static void* Run(void* self);
  int BeginThread();  // errno
  void Loop();
  void Look(std::int64_t now_ns);
  void WriteDump(std::int64_t now_ns);
  void WriteBox(std::int64_t now_ns);
  std::int64_t BoxDue() const;
  bool WriteDumpFile(const char* partial, const char* name);
  void RefreshModules(std::int64_t now_ns);
  void ReleasePages();
  void Say(std::int64_t free_bytes, Refusal refusal, int error, const FileName& name);

  const core::CoreApi& core_;
  const WatchOptions options_;
  Memory* memory_;
};

}  // namespace heldby::watch
