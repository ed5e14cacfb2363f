// watch/watcher_memory.h - everything that the watch's thread needs, in one piece.
//
// Threads  its own; Start() and End() before and after it.
// Units    bytes, nanoseconds.
#pragma once

#include <pthread.h>
#include <semaphore.h>
#include <time.h>

#include <cstddef>
#include <cstdint>

#include "core/base/clock.h"
#include "watch/black_box.h"
#include "watch/dump_folder.h"
#include "watch/dump_text.h"
#include "watch/holdings.h"
#include "watch/levels.h"
#include "watch/limits.h"
#include "watch/modules.h"
#include "watch/owned_file.h"
#include "watch/watcher.h"

namespace heldby::watch {

inline constexpr std::size_t kPage = 4096;
inline constexpr std::size_t kStackBytes = 128 << 10;
inline constexpr std::size_t kBufferBytes = 64 << 10;
inline constexpr std::int64_t kSecond = 1'000'000'000;

inline std::int64_t Now() { return static_cast<std::int64_t>(core::NowNs()); }

inline std::int64_t UnixSeconds() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec;
}

struct Watcher::Memory {
  explicit Memory(const WatchOptions& options) : levels(options.cooldown_ns) {}

  alignas(kPage) char stack[kPage + kStackBytes];  // the first page is the guard
  char sink_buffer[kBufferBytes];
  char buffer[kBufferBytes];
  Limits limits;
  Levels levels;
  Holdings holdings;
  CodeModules modules;
  DumpFolder folder;
  BlackBox box;

  pthread_t thread{};
  sem_t is_ready{};
  sem_t is_over{};
  sem_t has_ended{};
  OwnedFile maps;
  FileName written;  // a dump whose pages are to be given back
  std::int64_t written_ns = 0;
  std::int64_t modules_ns = 0;
  std::int64_t modules_due_ns = 0;
  std::int64_t box_ns = 0;  // when it was written last, and what that took
  std::int64_t box_cost_ns = 0;
  Occasion occasion;
};

}  // namespace heldby::watch
