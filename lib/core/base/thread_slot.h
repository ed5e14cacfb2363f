// core/base/thread_slot.h - what the hot paths know about the thread they run on.
//
// Threads  each thread sees its own; others read copies, by registry/thread_table.h.
// Signals  safe: plain data; the countdown is changed by single instructions.
// Allocates never: initial-exec TLS, part of the static block every thread is born with.
// Bounds   at most 128 bytes: glibc keeps just 512 spare bytes of static TLS for libraries that
//          are loaded late, for everybody together.
//
// Plain data without destructors, on purpose: it works before constructors, and the last frees
// of a dying thread, after its thread_local destructors, find it intact.
#pragma once

#include <cstdint>

namespace heldby::core {

/// Who holds what a thread allocates now: ids of core/registry, 0 for none.
struct Holder {
  std::uint32_t connection;
  std::uint32_t task;
  std::uint32_t labels;
};

/// The connection that a wrapped call suggests: what this thread last received from. The cookie
/// tells it from a later one that was given the same id.
struct Guess {
  std::uint64_t cookie;
  std::uint32_t connection;
};

struct ThreadSlot {
  /// Bytes until the next look. 0 at birth, so that a thread's first allocation takes the slow
  /// path and draws. Read and written on every allocation; everything else only on the slow
  /// one.
  std::uint64_t countdown_bytes;
  std::uint64_t random;          // state of the generator; 0: not seeded yet
  std::uint64_t mean_bytes;      // the distance the countdown was drawn with; 0: none was
  std::uint32_t self_depth;      // > 0: the profiler's until it says otherwise; not sampled
  std::uint32_t ends_in_sample;  // 0: the countdown ends in a check of the settings only
  // Of the thread's own stack, which cannot vanish: loads that end at stack_high or less than
  // stack_reach below it are safe. See core/stack/stack_memory.h.
  std::uintptr_t stack_high;
  std::uintptr_t stack_reach;
  std::uintptr_t foreign_page;  // of the last stack found not to be this one
  std::uint32_t stack_kind;     // 0: not looked at yet; 1: the main thread's; 2: another's
  Holder holder;                // copied into every sample
  std::int32_t tid;             // once it is listed in the thread table; 0 before
  std::uint32_t tasks_begun;    // of which one in some has its stack taken
  bool is_own;                  // a thread of the profiler's, in no list of threads
  std::uint32_t created_by;     // a StackId: who called pthread_create; 0: not seen
  std::uint32_t wait;           // the innermost wait under way: core/sampler/contention.h
  std::uint32_t fork_depth;     // > 0: inside of fork(): core/base/loader_gate.h
  Guess guess;                  // where `holder` names neither connection nor task
  std::uintptr_t fork_frame;    // where the outermost of them stands
  std::uintptr_t self_guard;    // 0: none; else where the outermost SelfGuard stands
};
static_assert(sizeof(ThreadSlot) <= 128);

// __thread rather than thread_local: no wrapper function can come between.
extern __thread ThreadSlot thread_slot
    __attribute__((tls_model("initial-exec"), visibility("hidden")));

}  // namespace heldby::core
