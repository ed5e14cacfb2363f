#include "core/sampler/cpu_timers.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core/base/random.h"

namespace heldby::core {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;

bool IsAlive(std::int32_t tid) { return syscall(SYS_tgkill, getpid(), tid, 0) == 0; }

// pthread_getcpuclockid() builds the same, but only for a pthread_t: bits 0-1 the kind of time
// (2: what the scheduler measured), bit 2 "of a thread", the rest the complement of its number.
clockid_t ClockOf(std::int32_t tid) { return static_cast<clockid_t>(~tid << 3 | 4 | 2); }

// glibc's timer_create allocates; the kernel's does not.
bool CreateTimer(std::int32_t tid, int signal, std::uint32_t run, std::int32_t* id) {
  sigevent event;
  memset(&event, 0, sizeof(event));
  event.sigev_notify = SIGEV_THREAD_ID;
  event._sigev_un._tid = tid;
  event.sigev_signo = signal;
  event.sigev_value.sival_int = static_cast<int>(run);
  return syscall(SYS_timer_create, ClockOf(tid), &event, id) == 0;
}

// By the calling thread. The kernel's set, of 64 signals: libc's would hide what it keeps for
// itself.
bool IsBlocked(int signal) {
  std::uint64_t blocked = 0;
  syscall(SYS_rt_sigprocmask, SIG_BLOCK, nullptr, &blocked, sizeof(blocked));
  return (blocked >> (signal - 1) & 1) != 0;
}

timespec ToTimespec(std::uint64_t ns) {
  return {static_cast<time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)};
}

class KeepErrno {
 public:
  ~KeepErrno() { errno = kept_; }

 private:
  const int kept_ = errno;
};

}  // namespace

void CpuTimers::Begin(std::uint64_t period_ns, int signal, std::uint32_t run) {
  period_ns_.store(period_ns, kRelaxed);
  signal_.store(signal, kRelaxed);
  run_.store(run, std::memory_order_release);
}

void CpuTimers::End() {
  const KeepErrno keep;
  run_.store(0, std::memory_order_seq_cst);
  for (Entry& entry : entries_) {
    if (entry.tid.load(kRelaxed) != 0 || entry.timer.load(kRelaxed) != 0) Give(&entry);
  }
}

// Whoever takes the timer out of its place deletes it: nobody else can.
void CpuTimers::Give(Entry* entry) {
  if (const std::int32_t timer = entry->timer.exchange(0, std::memory_order_acq_rel)) {
    syscall(SYS_timer_delete, timer - 1);
  }
  entry->tid.store(0, std::memory_order_release);
}

bool CpuTimers::Knows(std::int32_t tid) const {
  const auto first = static_cast<std::uint32_t>(tid) % kCapacity;
  for (std::uint32_t i = 0; i < kProbes; ++i) {
    if (entries_[(first + i) % kCapacity].tid.load(kRelaxed) == tid) return true;
  }
  return false;
}

// Its own place, or a free one that is its own from now on.
CpuTimers::Entry* CpuTimers::Find(std::int32_t tid) {
  const auto first = static_cast<std::uint32_t>(tid) % kCapacity;
  for (std::uint32_t i = 0; i < kProbes; ++i) {
    Entry& entry = entries_[(first + i) % kCapacity];
    if (entry.tid.load(kRelaxed) == tid) return &entry;
  }
  for (std::uint32_t i = 0; i < kProbes; ++i) {
    Entry& entry = entries_[(first + i) % kCapacity];
    std::int32_t free = 0;
    if (entry.tid.compare_exchange_strong(free, tid, std::memory_order_acq_rel)) return &entry;
  }
  unwatched_.fetch_add(1, kRelaxed);
  return nullptr;
}

// The first interval is a random part of one: threads that begin together must not be looked at
// together, and one that lives for half an interval is seen in half of the cases.
void CpuTimers::Make(Entry* entry, std::int32_t tid) {
  const std::uint32_t run = run_.load(std::memory_order_acquire);
  std::int32_t id = 0;
  if (run == 0 || !CreateTimer(tid, signal_.load(kRelaxed), run, &id)) {
    // EINVAL: the thread has ended since it was seen.
    if (run != 0 && errno != EINVAL) unwatched_.fetch_add(1, kRelaxed);
    entry->tid.compare_exchange_strong(tid, 0, std::memory_order_acq_rel);
    return;
  }
  const std::uint64_t period_ns = period_ns_.load(kRelaxed);
  const itimerspec times = {.it_interval = ToTimespec(period_ns),
                            .it_value = ToTimespec(1 + NextRandom(thread_slot) % period_ns)};
  syscall(SYS_timer_settime, id, 0, &times, nullptr);
  if (!Place(entry, tid, id + 1, run)) syscall(SYS_timer_delete, id);
}

// False: it is to be deleted. End() may have passed this place before the timer was in it, and
// the next profile may have given the place to another thread since; or Sweep() took it for one
// that an earlier thread of this number had left.
bool CpuTimers::Place(Entry* entry, std::int32_t tid, std::int32_t timer, std::uint32_t run) {
  std::int32_t none = 0;
  if (!entry->timer.compare_exchange_strong(none, timer, std::memory_order_seq_cst))
    return false;
  if (run_.load(std::memory_order_seq_cst) == run && entry->tid.load(kRelaxed) == tid)
    return true;
  // Not in its place any more: whoever took it out deletes it.
  if (!entry->timer.compare_exchange_strong(timer, 0, std::memory_order_acq_rel)) return true;
  entry->tid.compare_exchange_strong(tid, 0, std::memory_order_acq_rel);
  return false;
}

void CpuTimers::Watch(std::int32_t tid) {
  const KeepErrno keep;
  if (Knows(tid)) return;
  if (Entry* entry = Find(tid)) Make(entry, tid);
}

void CpuTimers::BeginThread(std::int32_t tid) {
  const KeepErrno keep;
  if (IsBlocked(signal_.load(kRelaxed))) return;
  const bool is_known = Knows(tid);
  Entry* entry = Find(tid);
  if (entry == nullptr) return;
  if (is_known) {
    // Of a thread that had this number before, or made for this one a moment ago; without a
    // timer yet: being made for this one.
    const std::int32_t timer = entry->timer.exchange(0, std::memory_order_acq_rel);
    if (timer == 0) return;
    syscall(SYS_timer_delete, timer - 1);
  }
  Make(entry, tid);
}

void CpuTimers::Sweep() {
  const KeepErrno keep;
  for (Entry& entry : entries_) {
    const std::int32_t tid = entry.tid.load(kRelaxed);
    if (entry.timer.load(kRelaxed) != 0 && (tid == 0 || !IsAlive(tid))) Give(&entry);
  }
}

void CpuTimers::ForgetInChild() {
  run_.store(0, kRelaxed);
  for (Entry& entry : entries_) {
    if (entry.tid.load(kRelaxed) == 0) continue;  // reading dirties no page
    entry.tid.store(0, kRelaxed);
    entry.timer.store(0, kRelaxed);
  }
}

}  // namespace heldby::core
