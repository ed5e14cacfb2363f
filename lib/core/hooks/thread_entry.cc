// pthread_create as the host sees it. The new thread begins in a function of ours, which takes
// over what its creator works for, says who created it, has its processor time sampled and its
// beginning and end traced if that is going on, and jumps to the host's function: no frame of
// ours is on its stack.
//
// Promises  no lock, no allocation; arguments, result and errno are the real call's. What the
//           new thread must know lies in a table of ours, never in the host's heap.
// Cost      the creator's stack, a microsecond, beside the ten and more of a new thread.
#include "core/hooks/thread_entry.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <atomic>

#include "core/base/self_guard.h"
#include "core/hooks/next_call.h"
#include "core/hooks/placement.h"
#include "core/registry/event_log.h"
#include "core/registry/record_table.h"
#include "core/registry/registry.h"
#include "core/sampler/cpu_sampler.h"
#include "core/sampler/heap_sampler.h"

#define CALLER reinterpret_cast<std::uintptr_t>(__builtin_return_address(0))

namespace heldby::core {
namespace {

struct Inheritance {
  RecordHead head;
  void* (*start)(void*);
  void* argument;
  Holder holder;
  Guess guess;
  std::uint32_t created_by;
  std::int32_t creator;
  std::atomic<std::int32_t> process;  // a forked child's own are not forgotten
};

constinit RecordTable<Inheritance, 12> inheritances;

std::atomic<bool> watches_threads{false};
// glibc keeps the values of the first 32 keys in the thread itself; beyond them, setting one
// would allocate.
constexpr pthread_key_t kKeysInPlace = 32;
constexpr int kNoKey = -1;
std::atomic<int> end_key{kNoKey};

// The last that is heard of a thread: destructors of keys run on it.
void OnThreadEnd(void*) {
  if (!event_log.is_on()) return;
  std::uint32_t name[4] = {};  // 15 characters and a 0
  prctl(PR_GET_NAME, name);
  event_log.Record(
      {.kind = EventKind::kThreadEnd, .id = name[0], .a = name[1], .b = name[2], .c = name[3]});
}

__attribute__((cold, noinline)) void TraceThreadBegin(std::int32_t creator) {
  const int key = end_key.load(std::memory_order_acquire);
  if (key != kNoKey) pthread_setspecific(static_cast<pthread_key_t>(key), &end_key);
  event_log.Record(
      {.kind = EventKind::kThreadBegin, .id = static_cast<std::uint32_t>(creator)});
}

struct Start {
  void* (*function)(void*);
  void* argument;
};

// Out of line and by value: the caller below has no frame that its jump would have to keep.
__attribute__((noinline)) Start TakeOver(std::uint32_t id) {
  const Inheritance& mine = inheritances.Get(id);
  thread_slot.holder = mine.holder;
  thread_slot.guess = mine.guess;
  thread_slot.created_by = mine.created_by;
  const Start start = {mine.start, mine.argument};
  const std::int32_t creator = mine.creator;
  inheritances.End(id);
  registry.threads.ListSelf();
  cpu_sampler.BeginThread();
  if (event_log.is_on()) [[unlikely]] {
    TraceThreadBegin(creator);
  }
  return start;
}

void* BeginInheriting(void* id) {
  const Start start =
      TakeOver(static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(id)));
  return start.function(start.argument);
}

__attribute__((noinline)) std::uint32_t StackOf(std::uintptr_t caller) {
  const int kept = errno;
  SelfGuard self;
  Stack stack;
  CaptureStack(caller, &stack);
  errno = kept;
  return static_cast<std::uint32_t>(heap_sampler.stacks().Intern(stack));
}

}  // namespace

std::uint64_t DroppedInheritances() { return inheritances.dropped(); }

// Handlers that were registered before ours have run: the threads they made are about to begin,
// and would do so as somebody else if their place were given away.
void ForgetInheritances() {
  const std::int32_t process = getpid();
  inheritances.ForEach([process](std::uint32_t id, const Inheritance& made) {
    if (made.process.load(std::memory_order_relaxed) != process) inheritances.End(id);
  });
}

void WatchThreadEnds() {
  static std::atomic<bool> is_made{false};
  if (is_made.exchange(true, std::memory_order_acq_rel)) return;
  pthread_key_t key;
  if (pthread_key_create(&key, &OnThreadEnd) != 0) return;
  if (key < kKeysInPlace) {
    end_key.store(static_cast<int>(key), std::memory_order_release);
  } else {
    pthread_key_delete(key);
  }
}

void* ResolveNextCall(const char* name) { return dlsym(RTLD_NEXT, name); }

void WatchThreads() { watches_threads.store(true, std::memory_order_release); }

void ResolveThreadCalls() { HELDBY_NEXT(pthread_create); }

}  // namespace heldby::core

using namespace heldby::core;  // NOLINT: the entry below is a C function at global scope

HELDBY_HOOK int pthread_create(pthread_t* __restrict thread,
                               const pthread_attr_t* __restrict attributes,
                               void* (*start)(void*), void* __restrict argument) __THROWNL {
  const auto next = HELDBY_NEXT(pthread_create);
  if (!watches_threads.load(std::memory_order_acquire) || InsideSelf()) {
    return next(thread, attributes, start, argument);
  }
  registry.threads.ListSelf();
  const std::uint32_t created_by = StackOf(CALLER);
  const std::uint32_t id = inheritances.Make([&](Inheritance& made) {
    made.start = start;
    made.argument = argument;
    made.holder = thread_slot.holder;
    made.guess = thread_slot.guess;
    made.created_by = created_by;
    made.creator = thread_slot.tid;
    made.process.store(getpid(), std::memory_order_relaxed);
  });
  if (id == 0) return next(thread, attributes, start, argument);
  const int error = next(thread, attributes, &BeginInheriting,
                         reinterpret_cast<void*>(static_cast<std::uintptr_t>(id)));
  if (error != 0) inheritances.End(id);
  return error;
}
