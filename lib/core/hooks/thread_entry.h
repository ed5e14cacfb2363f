// core/hooks/thread_entry.h - a new thread works for whom its creator worked for, and knows who
// created it.
//
// Threads  any, lock-free.   Allocates  never.
// Bounds   4,096 threads that have been made and do not run yet; one more begins without
//          either, and is counted.
#pragma once

#include <cstdint>

namespace heldby::core {

/// Until then pthread_create is the real one.
void WatchThreads();

std::uint64_t DroppedInheritances();

/// In a forked child: threads of the parent that did not run yet do not here, either.
void ForgetInheritances();

/// From now on the end of a thread that begins while the log of events is on is an event, too.
/// Not signal-safe; again and again is fine.
void WatchThreadEnds();

}  // namespace heldby::core
