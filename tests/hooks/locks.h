// The calls of pthread that are wrapped, as the program calls them and as libc has them.
#pragma once

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <thread>

#include "core/core.h"

namespace heldby::core {

struct LockCalls {
  decltype(&::pthread_mutex_lock) lock;
  decltype(&::pthread_mutex_timedlock) timedlock;
  decltype(&::pthread_mutex_clocklock) clocklock;
  decltype(&::pthread_mutex_unlock) unlock;
  decltype(&::pthread_rwlock_rdlock) rdlock;
  decltype(&::pthread_rwlock_wrlock) wrlock;
  decltype(&::pthread_rwlock_timedrdlock) timedrdlock;
  decltype(&::pthread_rwlock_timedwrlock) timedwrlock;
  decltype(&::pthread_rwlock_clockrdlock) clockrdlock;
  decltype(&::pthread_rwlock_clockwrlock) clockwrlock;
  decltype(&::pthread_rwlock_unlock) rwunlock;
  decltype(&::pthread_cond_wait) cond_wait;
  decltype(&::pthread_cond_timedwait) cond_timedwait;
  decltype(&::pthread_cond_clockwait) cond_clockwait;
  decltype(&::sem_wait) sem_wait;
  decltype(&::sem_timedwait) sem_timedwait;
  decltype(&::sem_clockwait) sem_clockwait;
  decltype(&::pthread_join) join;
};

inline LockCalls WrappedCalls() {
  return {&::pthread_mutex_lock,
          &::pthread_mutex_timedlock,
          &::pthread_mutex_clocklock,
          &::pthread_mutex_unlock,
          &::pthread_rwlock_rdlock,
          &::pthread_rwlock_wrlock,
          &::pthread_rwlock_timedrdlock,
          &::pthread_rwlock_timedwrlock,
          &::pthread_rwlock_clockrdlock,
          &::pthread_rwlock_clockwrlock,
          &::pthread_rwlock_unlock,
          &::pthread_cond_wait,
          &::pthread_cond_timedwait,
          &::pthread_cond_clockwait,
          &::sem_wait,
          &::sem_timedwait,
          &::sem_clockwait,
          &::pthread_join};
}

/// libc's own, whatever stands before them.
inline LockCalls RealCalls() {
  void* libc = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
  LockCalls calls{};
  const auto find = [libc](auto* call, const char* name) {
    *call = reinterpret_cast<std::remove_pointer_t<decltype(call)>>(dlsym(libc, name));
  };
  find(&calls.lock, "pthread_mutex_lock");
  find(&calls.timedlock, "pthread_mutex_timedlock");
  find(&calls.clocklock, "pthread_mutex_clocklock");
  find(&calls.unlock, "pthread_mutex_unlock");
  find(&calls.rdlock, "pthread_rwlock_rdlock");
  find(&calls.wrlock, "pthread_rwlock_wrlock");
  find(&calls.timedrdlock, "pthread_rwlock_timedrdlock");
  find(&calls.timedwrlock, "pthread_rwlock_timedwrlock");
  find(&calls.clockrdlock, "pthread_rwlock_clockrdlock");
  find(&calls.clockwrlock, "pthread_rwlock_clockwrlock");
  find(&calls.rwunlock, "pthread_rwlock_unlock");
  find(&calls.cond_wait, "pthread_cond_wait");
  find(&calls.cond_timedwait, "pthread_cond_timedwait");
  find(&calls.cond_clockwait, "pthread_cond_clockwait");
  find(&calls.sem_wait, "sem_wait");
  find(&calls.sem_timedwait, "sem_timedwait");
  find(&calls.sem_clockwait, "sem_clockwait");
  find(&calls.join, "pthread_join");
  return calls;
}

inline timespec In(clockid_t clock, long ms) {
  timespec then;
  clock_gettime(clock, &then);
  then.tv_nsec += ms * 1'000'000;
  then.tv_sec += then.tv_nsec / 1'000'000'000;
  then.tv_nsec %= 1'000'000'000;
  return then;
}

struct WaitTotals {
  std::uint64_t contentions = 0;
  std::uint64_t delay_ns = 0;
  WaitTotals operator-(const WaitTotals& before) const {
    return {contentions - before.contentions, delay_ns - before.delay_ns};
  }
};

inline const ContentionApi& Api() { return *heldby_core_v1()->contention; }

/// Allocators have locks, and may wait for them while a test does something else.
inline bool IsOfAnAllocator(const StackView& stack) {
  Dl_info info;
  if (stack.depth == 0 || dladdr(reinterpret_cast<void*>(stack.frames[0] - 1), &info) == 0) {
    return false;
  }
  return strstr(info.dli_fname, "malloc") != nullptr &&
         strstr(info.dli_fname, ".so") != nullptr;
}

inline WaitTotals TotalsOf(ContentionTable table) {
  WaitTotals sum;
  Api().visit_sites(
      table,
      [](void* context, const ContentionSite& site) {
        if (IsOfAnAllocator(site.stack)) return;
        auto& all = *static_cast<WaitTotals*>(context);
        all.contentions += site.contentions / 4096;
        all.delay_ns += site.delay_ns;
      },
      &sum);
  return sum;
}

inline int WaitsUnderWay(const void* object = nullptr) {
  struct Count {
    const void* object;
    int waits;
  } count{object, 0};
  Api().visit_waits(
      [](void* context, const WaitView& wait) {
        auto& mine = *static_cast<Count*>(context);
        if (mine.object == nullptr || wait.object == mine.object) ++mine.waits;
      },
      &count);
  return count.waits;
}

/// False: not within 20 s.
inline bool Eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 20'000; ++i) {
    if (condition()) return true;
    usleep(1000);
  }
  return false;
}

/// Waits until somebody waits for `object`, as far as the profiler sees.
inline bool IsWaitedFor(const void* object) {
  return Eventually([object] { return WaitsUnderWay(object) > 0; });
}

inline bool SleepsInFutex(int tid) {
  char path[64];
  std::snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", tid);
  std::FILE* file = std::fopen(path, "r");
  if (file == nullptr) return false;
  int number = -1;
  const bool read = std::fscanf(file, "%d", &number) == 1;
  std::fclose(file);
  return read && number == SYS_futex;
}

/// Every wait and every unlocking counts, as long as it lives.
class EveryWait {
 public:
  EveryWait() {
    Api().set_block_rate_ns(1);
    Api().set_mutex_fraction(1);
  }
  ~EveryWait() {
    Api().set_block_rate_ns(0);
    Api().set_mutex_fraction(0);
  }
  EveryWait(const EveryWait&) = delete;
  EveryWait& operator=(const EveryWait&) = delete;
};

}  // namespace heldby::core
