#include "core/base/loader_gate.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
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
// Forks that begin wait before they count themselves. Half a second at once at most.
std::atomic<std::uint32_t> is_held_back{0};
std::atomic<std::uint32_t> vain_forks{0};

// Patience is counted, not timed: the host's clock may be one that a library for tests has put
// in front of libc's. A wait of 10 ms costs 64 units, and one that ends early 1 unit.
constexpr int kPauseNs = 10'000'000;
constexpr int kPauseCost = 64;
constexpr int kSecond = 100 * kPauseCost;
std::atomic<int> brief_patience{kSecond};

// Waits for *word to be another than `value`. By number: no thread is cancelled in fork(). A
// signal would end the wait early, and a timer's the whole second within a hundredth of it.
int Await(std::atomic<std::uint32_t>* word, std::uint32_t value) {
  const int before = errno;
  const SignalsBlocked undisturbed;
  const timespec most = {0, kPauseNs};
  const long result = syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, &most, nullptr, 0);
  const int cost = result == 0 || errno == EAGAIN ? 1 : kPauseCost;
  errno = before;
  return cost;
}

void Wake(std::atomic<std::uint32_t>* word) {
  const int before = errno;
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
  errno = before;
}

// Until *word is 0. False: in vain.
bool ForkWaits(std::atomic<std::uint32_t>* word, int* patience) {
  while (const std::uint32_t value = word->load()) {
    if (*patience <= 0 || vain_forks.load() != 0) return false;
    *patience -= Await(word, value);
  }
  return true;
}

void BeforeFork() {
  if (thread_slot.fork_depth++ != 0) return;
  int patience = kSecond;
  ForkWaits(&is_held_back, &patience);
  forks_under_way.fetch_add(1);
  if (!ForkWaits(&inside, &patience)) vain_forks.fetch_add(1);
}

void AfterFork() {
  if (thread_slot.fork_depth == 0 || --thread_slot.fork_depth != 0) return;
  brief_patience.store(kSecond);
  forks_under_way.fetch_sub(1);
  Wake(&forks_under_way);
}

void AfterForkInChild() {
  if (thread_slot.fork_depth != 0) --thread_slot.fork_depth;
  inside.store(0);
  is_held_back.store(0);
  brief_patience.store(kSecond);
  // In a handler of a fork that goes on here, as the parent.
  forks_under_way.store(thread_slot.fork_depth != 0 ? 1 : 0);
}

bool Enter(int* patience) {
  for (;;) {
    inside.fetch_add(1);
    const std::uint32_t forks = forks_under_way.load();
    if (forks == 0) return true;
    LeaveLoader();
    if (*patience <= 0) return false;
    *patience -= Await(&forks_under_way, forks);
  }
}

}  // namespace

void WatchForks() {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, [] { pthread_atfork(&BeforeFork, &AfterFork, &AfterForkInChild); });
}

bool EnterLoaderBriefly() {
  WatchForks();
  const int before = std::max(brief_patience.load(), 0);
  int patience = before;
  const bool is_inside = Enter(&patience);
  if (patience != before) brief_patience.fetch_sub(before - patience);
  return is_inside;
}

bool EnterLoaderNow() {
  int none = 0;
  return Enter(&none);
}

void EnterLoader() {
  for (int seconds = 0; seconds < 60; ++seconds) {
    int patience = kSecond / 2;
    if (Enter(&patience)) return;
    is_held_back.store(1);
    patience = kSecond / 2;
    const bool is_inside = Enter(&patience);
    is_held_back.store(0);
    Wake(&is_held_back);
    if (is_inside) return;
  }
  inside.fetch_add(1);
}

void LeaveLoader() {
  if (inside.fetch_sub(1) != 1) return;
  vain_forks.store(0);
  if (forks_under_way.load() != 0) Wake(&inside);
}

bool IsForking() { return thread_slot.fork_depth != 0; }

std::uint32_t TakeVainForks() { return vain_forks.exchange(0); }

}  // namespace heldby::core
