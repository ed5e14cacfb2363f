// core/base/setting.h - the environment, for threads of ours as well.
//
// A program of one thread may change its environment at any time, and many do first of all
// (setproctitle, redis, nginx): getenv() on a thread of ours would read what is being freed.
// The core copies what concerns us before the program begins; our threads are given the copy,
// and threads of the host's, which call us, their environment.
//
// Threads  any.   Signals  safe.   Allocates  never.
#pragma once

#include <stdlib.h>

#include <atomic>

namespace heldby::core {

/// CoreApi::setting, once a thread of ours begins.
inline std::atomic<const char* (*)(const char* name)> setting_source{nullptr};

/// nullptr: not set, or of no effect in a program that runs with another's rights.
inline const char* Setting(const char* name) {
  const auto source = setting_source.load(std::memory_order_acquire);
  return source != nullptr ? source(name) : secure_getenv(name);
}

}  // namespace heldby::core
