// What the wrapped calls of pthread answer is what libc answers, whether waits are recorded or
// not.
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <string>
#include <vector>

#include "tests/hooks/locks.h"

namespace heldby::core {
namespace {

using Results = std::vector<int>;
using Scenario = Results (*)(const LockCalls& calls);

constexpr long kShort = 5;  // milliseconds, for what is to time out

class Mutex {
 public:
  explicit Mutex(int type, int robust = PTHREAD_MUTEX_STALLED,
                 int protocol = PTHREAD_PRIO_NONE) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, type);
    pthread_mutexattr_setrobust(&attributes, robust);
    pthread_mutexattr_setprotocol(&attributes, protocol);
    pthread_mutex_init(&mutex_, &attributes);
    pthread_mutexattr_destroy(&attributes);
  }
  ~Mutex() { pthread_mutex_destroy(&mutex_); }
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;
  pthread_mutex_t* operator&() { return &mutex_; }  // NOLINT: reads as the real thing

 private:
  pthread_mutex_t mutex_;
};

template <typename Body>
void OnAnotherThread(const Body& body) {
  std::thread(body).join();
}

Results ErrorChecking(const LockCalls& calls) {
  Mutex mutex(PTHREAD_MUTEX_ERRORCHECK);
  const timespec soon = In(CLOCK_REALTIME, kShort);
  Results results = {calls.unlock(&mutex), calls.lock(&mutex), calls.lock(&mutex),
                     calls.timedlock(&mutex, &soon)};
  OnAnotherThread([&] { results.push_back(calls.unlock(&mutex)); });
  results.push_back(calls.unlock(&mutex));
  results.push_back(calls.unlock(&mutex));
  return results;
}

Results Recursive(const LockCalls& calls) {
  Mutex mutex(PTHREAD_MUTEX_RECURSIVE);
  Results results;
  for (int i = 0; i < 3; ++i) results.push_back(calls.lock(&mutex));
  for (int i = 0; i < 4; ++i) results.push_back(calls.unlock(&mutex));
  return results;
}

Results RobustWhoseOwnerDied(const LockCalls& calls) {
  Mutex mutex(PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_ROBUST);
  Results results;
  OnAnotherThread([&] { results.push_back(calls.lock(&mutex)); });
  results.push_back(calls.lock(&mutex));
  results.push_back(pthread_mutex_consistent(&mutex));
  results.push_back(calls.unlock(&mutex));
  OnAnotherThread([&] { results.push_back(calls.lock(&mutex)); });
  results.push_back(calls.lock(&mutex));
  results.push_back(calls.unlock(&mutex));  // not made consistent
  // Not recoverable: told to everybody, as often as they ask, and at once.
  const timespec soon = In(CLOCK_REALTIME, kShort);
  for (int i = 0; i < 2; ++i) {
    results.push_back(calls.lock(&mutex));
    results.push_back(calls.timedlock(&mutex, &soon));
    results.push_back(calls.clocklock(&mutex, CLOCK_REALTIME, &soon));
    OnAnotherThread([&] { results.push_back(calls.timedlock(&mutex, &soon)); });
  }
  return results;
}

// Its own thread's second lock is refused, or waits until the deadline, or is one more.
Results RobustThatIsLockedTwice(const LockCalls& calls) {
  Results results;
  for (const int type :
       {PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_RECURSIVE}) {
    Mutex mutex(type, PTHREAD_MUTEX_ROBUST);
    const timespec soon = In(CLOCK_REALTIME, kShort);
    results.push_back(calls.lock(&mutex));
    if (type != PTHREAD_MUTEX_NORMAL) results.push_back(calls.lock(&mutex));
    results.push_back(calls.timedlock(&mutex, &soon));
    OnAnotherThread([&] { results.push_back(calls.timedlock(&mutex, &soon)); });
    for (int i = 0; i < 4; ++i) results.push_back(calls.unlock(&mutex));
  }
  return results;
}

Results RobustWhoseOwnerDiesWhileWaitedFor(const LockCalls& calls) {
  Mutex mutex(PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_ROBUST);
  Results results;
  std::atomic<bool> locked{false};
  std::thread owner([&] {
    calls.lock(&mutex);
    locked = true;
    usleep(20'000);
  });
  while (!locked) std::this_thread::yield();
  results.push_back(calls.lock(&mutex));
  results.push_back(pthread_mutex_consistent(&mutex));
  results.push_back(calls.unlock(&mutex));
  owner.join();
  return results;
}

Results WithPriorityInheritance(const LockCalls& calls) {
  Mutex mutex(PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_STALLED, PTHREAD_PRIO_INHERIT);
  const timespec soon = In(CLOCK_REALTIME, kShort);
  Results results = {calls.lock(&mutex), calls.lock(&mutex)};
  OnAnotherThread([&] { results.push_back(calls.timedlock(&mutex, &soon)); });
  results.push_back(calls.unlock(&mutex));
  return results;
}

Results MutexDeadlines(const LockCalls& calls) {
  Mutex mutex(PTHREAD_MUTEX_NORMAL);
  const timespec past = {1, 0};
  const timespec bad = {1, 1'000'000'000};
  const timespec negative = {1, -1};
  const timespec now = In(CLOCK_MONOTONIC, 0);
  Results results;
  // Free: what is wrong with the deadline may not matter.
  for (const timespec& deadline : {past, bad, negative}) {
    results.push_back(calls.timedlock(&mutex, &deadline));
    if (results.back() == 0) calls.unlock(&mutex);
    results.push_back(calls.clocklock(&mutex, CLOCK_MONOTONIC, &deadline));
    if (results.back() == 0) calls.unlock(&mutex);
  }
  results.push_back(calls.clocklock(&mutex, CLOCK_THREAD_CPUTIME_ID, &now));
  if (results.back() == 0) calls.unlock(&mutex);
  calls.lock(&mutex);
  OnAnotherThread([&] {
    for (const timespec& deadline : {past, bad, negative}) {
      results.push_back(calls.timedlock(&mutex, &deadline));
      results.push_back(calls.clocklock(&mutex, CLOCK_MONOTONIC, &deadline));
    }
    const timespec soon = In(CLOCK_REALTIME, kShort);
    const timespec monotonic = In(CLOCK_MONOTONIC, kShort);
    results.push_back(calls.timedlock(&mutex, &soon));
    results.push_back(calls.clocklock(&mutex, CLOCK_REALTIME, &soon));
    results.push_back(calls.clocklock(&mutex, CLOCK_MONOTONIC, &monotonic));
    results.push_back(calls.clocklock(&mutex, CLOCK_PROCESS_CPUTIME_ID, &monotonic));
  });
  calls.unlock(&mutex);
  return results;
}

Results ReadWriteLocks(const LockCalls& calls) {
  pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
  const timespec bad = {1, 1'000'000'000};
  const timespec now = In(CLOCK_MONOTONIC, 0);
  Results results = {calls.timedrdlock(&lock, &bad),
                     calls.timedwrlock(&lock, &bad),
                     calls.clockrdlock(&lock, CLOCK_MONOTONIC, &bad),
                     calls.clockwrlock(&lock, CLOCK_BOOTTIME, &now),
                     calls.rdlock(&lock),
                     calls.rdlock(&lock)};
  calls.rwunlock(&lock);
  calls.rwunlock(&lock);
  results.push_back(calls.wrlock(&lock));
  results.push_back(calls.wrlock(&lock));  // the owner again: it is told
  results.push_back(calls.rdlock(&lock));
  OnAnotherThread([&] {
    const timespec soon = In(CLOCK_REALTIME, kShort);
    const timespec monotonic = In(CLOCK_MONOTONIC, kShort);
    results.push_back(calls.timedrdlock(&lock, &soon));
    results.push_back(calls.timedwrlock(&lock, &soon));
    results.push_back(calls.clockrdlock(&lock, CLOCK_MONOTONIC, &monotonic));
    results.push_back(calls.clockwrlock(&lock, CLOCK_MONOTONIC, &monotonic));
    results.push_back(calls.timedrdlock(&lock, &bad));
  });
  results.push_back(calls.rwunlock(&lock));
  return results;
}

Results Conditions(const LockCalls& calls) {
  Mutex mutex(PTHREAD_MUTEX_ERRORCHECK);
  pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
  const timespec soon = In(CLOCK_REALTIME, kShort);
  const timespec monotonic = In(CLOCK_MONOTONIC, kShort);
  const timespec bad = {1, -1};
  Results results = {calls.cond_timedwait(&condition, &mutex, &soon)};  // not the owner
  calls.lock(&mutex);
  results.push_back(calls.cond_timedwait(&condition, &mutex, &soon));
  results.push_back(calls.cond_timedwait(&condition, &mutex, &bad));
  results.push_back(calls.cond_clockwait(&condition, &mutex, CLOCK_MONOTONIC, &monotonic));
  results.push_back(calls.cond_clockwait(&condition, &mutex, CLOCK_BOOTTIME, &monotonic));
  results.push_back(calls.unlock(&mutex));
  pthread_cond_destroy(&condition);
  return results;
}

// libc has two of each condition call; the one of before 2003 takes this one for something
// else.
Results ASignalledCondition(const LockCalls& calls) {
  Mutex mutex(PTHREAD_MUTEX_NORMAL);
  pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
  Results results;
  int met = 0;
  std::thread waiter([&] {
    calls.lock(&mutex);
    while (met == 0) results.push_back(calls.cond_wait(&condition, &mutex));
    while (met == 1) {
      const timespec later = In(CLOCK_REALTIME, 60'000);
      results.push_back(calls.cond_timedwait(&condition, &mutex, &later));
    }
    while (met == 2) {
      const timespec later = In(CLOCK_MONOTONIC, 60'000);
      results.push_back(calls.cond_clockwait(&condition, &mutex, CLOCK_MONOTONIC, &later));
    }
    calls.unlock(&mutex);
  });
  for (int i = 0; i < 3; ++i) {
    usleep(10'000);
    calls.lock(&mutex);
    ++met;
    pthread_cond_signal(&condition);
    calls.unlock(&mutex);
  }
  waiter.join();
  for (const int result : results) {
    if (result != 0) return {result};
  }
  return {0, met};
}

Results Semaphores(const LockCalls& calls) {
  sem_t semaphore;
  sem_init(&semaphore, 0, 2);
  const timespec bad = {1, 1'000'000'000};
  const timespec past = {1, 0};
  Results results;
  const auto note = [&results](int result) {
    results.push_back(result);
    results.push_back(errno);
    errno = 4711;
  };
  errno = 4711;
  note(calls.sem_wait(&semaphore));
  note(calls.sem_timedwait(&semaphore, &bad));
  note(calls.sem_timedwait(&semaphore, &past));
  const timespec soon = In(CLOCK_REALTIME, kShort);
  const timespec monotonic = In(CLOCK_MONOTONIC, kShort);
  note(calls.sem_timedwait(&semaphore, &soon));
  note(calls.sem_clockwait(&semaphore, CLOCK_MONOTONIC, &monotonic));
  note(calls.sem_clockwait(&semaphore, CLOCK_BOOTTIME, &monotonic));
  sem_destroy(&semaphore);
  return results;
}

Results AnInterruptedSemaphore(const LockCalls& calls) {
  struct sigaction silent {};
  silent.sa_handler = [](int) {};
  struct sigaction before;
  sigaction(SIGUSR1, &silent, &before);
  sem_t semaphore;
  sem_init(&semaphore, 0, 0);
  std::atomic<bool> done{false};
  std::thread poker([&done, waiter = pthread_self()] {
    while (!done) {
      pthread_kill(waiter, SIGUSR1);
      usleep(1000);
    }
  });
  errno = 0;
  Results results = {calls.sem_wait(&semaphore), errno};
  done = true;
  poker.join();
  sigaction(SIGUSR1, &before, nullptr);
  sem_destroy(&semaphore);
  return results;
}

Results EndsOfThreads(const LockCalls& calls) {
  Results results = {calls.join(pthread_self(), nullptr)};
  const auto start = [](long delay_us) {
    pthread_t thread;
    pthread_create(
        &thread, nullptr,
        [](void* argument) -> void* {
          usleep(static_cast<useconds_t>(reinterpret_cast<std::uintptr_t>(argument)));
          return argument;
        },
        reinterpret_cast<void*>(delay_us));
    return thread;
  };
  for (const long delay_us : {0, 20'000}) {
    const pthread_t thread = start(delay_us);
    if (delay_us == 0) usleep(20'000);
    void* value = nullptr;
    results.push_back(calls.join(thread, &value));
    results.push_back(value == reinterpret_cast<void*>(delay_us));
  }
  static std::atomic<bool> may_end;
  may_end = false;
  pthread_t detached;
  pthread_create(
      &detached, nullptr,
      [](void*) -> void* {
        while (!may_end) usleep(1000);
        return nullptr;
      },
      nullptr);
  pthread_detach(detached);
  results.push_back(calls.join(detached, nullptr));
  may_end = true;
  return results;
}

TEST(LockResults, AreThoseOfLibcWhetherWaitsAreRecordedOrNot) {
  const std::pair<const char*, Scenario> scenarios[] = {
      {"error checking", &ErrorChecking},
      {"recursive", &Recursive},
      {"robust, owner died", &RobustWhoseOwnerDied},
      {"robust, locked twice", &RobustThatIsLockedTwice},
      {"robust, owner dies", &RobustWhoseOwnerDiesWhileWaitedFor},
      {"priority inheritance", &WithPriorityInheritance},
      {"mutex deadlines", &MutexDeadlines},
      {"read-write locks", &ReadWriteLocks},
      {"conditions", &Conditions},
      {"a signalled condition", &ASignalledCondition},
      {"semaphores", &Semaphores},
      {"an interrupted semaphore", &AnInterruptedSemaphore},
      {"ends of threads", &EndsOfThreads},
  };
  for (const auto& [name, scenario] : scenarios) {
    const Results real = scenario(RealCalls());
    EXPECT_EQ(scenario(WrappedCalls()), real) << name << ", off";
    const EveryWait every_wait;
    EXPECT_EQ(scenario(WrappedCalls()), real) << name << ", on";
    EXPECT_EQ(WaitsUnderWay(), 0) << name;
  }
}

TEST(LockResults, ConditionCallsAreTheNewOnes) {
  // Otherwise the scenario above would have compared the old with the old.
  void* libc = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
  EXPECT_EQ(dlsym(libc, "pthread_cond_wait"), dlvsym(libc, "pthread_cond_wait", "GLIBC_2.3.2"));
}

}  // namespace
}  // namespace heldby::core
