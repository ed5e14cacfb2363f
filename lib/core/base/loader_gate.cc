#include "core/base/loader_gate.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>

#include "core/base/signals_blocked.h"
#include "core/base/thread_slot.h"

namespace heldby::core {
namespace {

// Invariant: a fork counts itself and then looks whether we are inside; we count ourselves and
// then look for forks; all in one order for all threads (seq_cst). So one of them sees the
// other. If both do, it is we who step back: forks go first, and nobody waits for one who waits
// for him.
//
// Rejected: one lock that both take. A fork would have to hold it across the handlers of the
// host, which may wait for a thread of ours.
std::atomic<std::uint32_t> inside{0};
std::atomic<std::uint32_t> forks_under_way{0};
std::atomic<std::uint32_t> is_held_back{0};  // forks that begin wait before they count
std::atomic<std::uint32_t> vain_forks{0};
std::uint32_t vain_forks_of_parent = 0;

constexpr std::int64_t kSecond = 1'000'000'000;
std::atomic<std::int64_t> brief_patience_ns{kSecond};

// Never below 0. A thread that a handler of the host's has begun in a child may fork before our
// own handler there has run.
void Decrease(std::atomic<std::uint32_t>* count) {
  std::uint32_t value = count->load();
  while (value != 0 && !count->compare_exchange_weak(value, value - 1)) {
  }
}

// By number, as the wait below: a library for tests may have put its own clock in front of
// libc's, and no thread is cancelled in fork().
std::int64_t KernelNow() {
  timespec now{};
  syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
  return now.tv_sec * kSecond + now.tv_nsec;
}

// False: *word is still `value` at that time.
bool Await(std::atomic<std::uint32_t>* word, std::uint32_t value, std::int64_t until_ns) {
  const timespec until = {until_ns / kSecond, until_ns % kSecond};
  return syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, value, &until, nullptr,
                 FUTEX_BITSET_MATCH_ANY) == 0 ||
         (errno == EAGAIN && KernelNow() < until_ns);
}

void Wake(std::atomic<std::uint32_t>* word) {
  const int before = errno;
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
  errno = before;
}

// Until *word is 0. False: in vain.
bool ForkWaits(std::atomic<std::uint32_t>* word, std::int64_t until_ns) {
  while (const std::uint32_t value = word->load()) {
    if (vain_forks.load() != 0 || !Await(word, value, until_ns)) return false;
  }
  return true;
}

void BeginFork() {
  if (is_held_back.load() == 0) {
    forks_under_way.fetch_add(1);
    if (inside.load() == 0) return;
    Decrease(&forks_under_way);
  }
  const int before = errno;
  const std::int64_t until_ns = KernelNow() + kSecond;
  ForkWaits(&is_held_back, until_ns);
  forks_under_way.fetch_add(1);
  if (!ForkWaits(&inside, until_ns)) {
    vain_forks.fetch_add(1);
    if (inside.load() == 0) vain_forks.store(0);  // it has just ended
  }
  errno = before;
}

// Depth and count change together, as seen by handlers of signals, which may fork as well. One
// that stands no deeper on the stack is not inside the last: that was left by a jump.
void BeforeFork() {
  const SignalsBlocked undisturbed;
  const auto frame = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  if (thread_slot.fork_depth != 0 && frame >= thread_slot.fork_frame) {
    thread_slot.fork_depth = 0;
    Decrease(&forks_under_way);
  }
  if (thread_slot.fork_depth++ != 0) return;
  thread_slot.fork_frame = frame;
  BeginFork();
}

void AfterFork() {
  const SignalsBlocked undisturbed;
  if (thread_slot.fork_depth == 0 || --thread_slot.fork_depth != 0) return;
  brief_patience_ns.store(kSecond);
  Decrease(&forks_under_way);
  Wake(&forks_under_way);
}

void AfterForkInChild() {
  const SignalsBlocked undisturbed;
  if (thread_slot.fork_depth != 0) --thread_slot.fork_depth;
  inside.store(0);
  is_held_back.store(0);
  vain_forks_of_parent = vain_forks.exchange(0);
  brief_patience_ns.store(kSecond);
  // 1: in a handler of a fork that goes on here, as the parent.
  forks_under_way.store(thread_slot.fork_depth != 0 ? 1 : 0);
}

bool Enter(std::int64_t patience_ns) {
  const int before = errno;
  const std::int64_t until_ns = patience_ns > 0 ? KernelNow() + patience_ns : 0;
  bool is_inside = false;
  for (;;) {
    inside.fetch_add(1);
    const std::uint32_t forks = forks_under_way.load();
    is_inside = forks == 0;
    if (is_inside) break;
    LeaveLoader();
    if (patience_ns <= 0 || !Await(&forks_under_way, forks, until_ns)) break;
  }
  errno = before;
  return is_inside;
}

}  // namespace

void WatchForks() {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, [] { pthread_atfork(&BeforeFork, &AfterFork, &AfterForkInChild); });
}

bool EnterLoaderNow() { return !IsForking() && Enter(0); }

bool EnterLoaderBriefly() {
  WatchForks();
  if (IsForking()) return false;
  if (Enter(0)) return true;
  const std::int64_t begun_ns = KernelNow();
  const bool is_inside = Enter(brief_patience_ns.load());
  brief_patience_ns.fetch_sub(KernelNow() - begun_ns);
  return is_inside;
}

void EnterLoader() {
  constexpr int kMostHolds = 3;  // longer than that no fork lasts that others should wait for
  for (int seconds = 0; seconds < 60; ++seconds) {
    if (Enter(kSecond / 2)) return;
    is_held_back.store(seconds < kMostHolds ? 1 : 0);
    const bool is_inside = Enter(kSecond / 2);
    is_held_back.store(0);
    Wake(&is_held_back);
    if (is_inside) return;
  }
  inside.fetch_add(1);
}

void LeaveLoader() {
  Decrease(&inside);
  if (inside.load() != 0) return;
  vain_forks.store(0);
  if (forks_under_way.load() != 0) Wake(&inside);
}

bool IsForking() { return thread_slot.fork_depth != 0; }

std::uint32_t VainForksOfParent() { return vain_forks_of_parent; }

}  // namespace heldby::core
