// What is recorded of waits: who waited, for how long, and whom for; and that nothing is left
// of them when they end in other ways than by returning.
#include <gtest/gtest.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/wait.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <shared_mutex>
#include <vector>

#include "tests/hooks/locks.h"

namespace heldby::core {
namespace {

// join() would be a wait itself.
void JoinUnseen(std::thread* thread) {
  heldby_core_v1()->enter_self();
  thread->join();
  heldby_core_v1()->leave_self();
}

class LockWaits : public testing::Test {
 protected:
  WaitTotals Block() { return TotalsOf(ContentionTable::kBlock) - block_; }
  WaitTotals Mutexes() { return TotalsOf(ContentionTable::kMutex) - mutex_; }

  /// Somebody waits for `object` in `wait`, and `give` ends it.
  template <typename Wait, typename Give>
  void WaitedFor(const void* object, const Wait& wait, const Give& give) {
    std::thread waiter(wait);
    EXPECT_TRUE(IsWaitedFor(object));
    give();
    JoinUnseen(&waiter);
  }

  const EveryWait every_wait_;
  const WaitTotals block_ = TotalsOf(ContentionTable::kBlock);
  const WaitTotals mutex_ = TotalsOf(ContentionTable::kMutex);
};

TEST_F(LockWaits, OfAMutexCountForTheWaiterAndForWhoUnlocked) {
  std::mutex mutex;
  mutex.lock();
  WaitedFor(
      &mutex, [&] { std::lock_guard<std::mutex> lock(mutex); }, [&] { mutex.unlock(); });
  EXPECT_EQ(Block().contentions, 1u);
  EXPECT_EQ(Mutexes().contentions, 1u);
  EXPECT_GT(Block().delay_ns, 0u);
  EXPECT_EQ(Mutexes().delay_ns, Block().delay_ns);
  EXPECT_EQ(WaitsUnderWay(), 0);
}

TEST_F(LockWaits, ThatNeedNotWaitCountForNothing) {
  std::mutex mutex;
  std::shared_mutex shared;
  sem_t semaphore;
  sem_init(&semaphore, 0, 1);
  mutex.lock();
  mutex.unlock();
  shared.lock();
  shared.unlock();
  shared.lock_shared();
  shared.lock_shared();
  shared.unlock_shared();
  shared.unlock_shared();
  EXPECT_EQ(sem_wait(&semaphore), 0);
  EXPECT_EQ(Block().contentions, 0u);
  EXPECT_EQ(Mutexes().contentions, 0u);
}

TEST_F(LockWaits, OfTwoReadersForOneWriterAreTwo) {
  std::shared_mutex shared;
  shared.lock();
  std::thread another;
  WaitedFor(
      &shared, [&] { std::shared_lock<std::shared_mutex> lock(shared); },
      [&] {
        another = std::thread([&] { std::shared_lock<std::shared_mutex> lock(shared); });
        EXPECT_TRUE(Eventually([&] { return WaitsUnderWay(&shared) == 2; }));
        shared.unlock();
      });
  EXPECT_TRUE(Eventually([&] { return WaitsUnderWay(&shared) == 0; }));
  EXPECT_EQ(Mutexes().contentions, 2u);
  JoinUnseen(&another);
}

TEST_F(LockWaits, ForAMutexThatAConditionGivesUpCountForWhoWaitsForTheCondition) {
  std::mutex mutex;
  std::condition_variable condition;
  bool met = false;
  std::unique_lock<std::mutex> lock(mutex);
  WaitedFor(
      &mutex,
      [&] {
        std::lock_guard<std::mutex> other(mutex);
        met = true;
        condition.notify_one();
      },
      [&] {
        while (!met) condition.wait(lock);
      });
  EXPECT_EQ(Mutexes().contentions, 1u);
  EXPECT_EQ(Block().contentions, 2u) << "for the mutex, for the condition";
}

TEST_F(LockWaits, AreRecordedWithTheirKindAndTheirThread) {
  std::mutex mutex;
  mutex.lock();
  std::atomic<std::int32_t> tid{0};
  struct Seen {
    WaitKind kind;
    std::int32_t tid;
  } seen{};
  WaitedFor(
      &mutex,
      [&] {
        tid = gettid();
        std::lock_guard<std::mutex> lock(mutex);
      },
      [&] {
        Api().visit_waits(
            [](void* context, const WaitView& wait) {
              *static_cast<Seen*>(context) = {wait.kind, wait.tid};
            },
            &seen);
        mutex.unlock();
      });
  EXPECT_EQ(seen.kind, WaitKind::kMutex);
  EXPECT_EQ(seen.tid, tid);
}

TEST_F(LockWaits, ThatTimedOutCountForTheWaiterAlone) {
  std::timed_mutex mutex;
  mutex.lock();
  std::thread waiter([&] { EXPECT_FALSE(mutex.try_lock_for(std::chrono::milliseconds(5))); });
  JoinUnseen(&waiter);
  mutex.unlock();
  EXPECT_EQ(Mutexes().contentions, 0u);
  EXPECT_GE(Block().delay_ns, 5'000'000u);
}

TEST_F(LockWaits, BeginWithTheFrameThatLocked) {
  std::mutex mutex;
  mutex.lock();
  static std::atomic<std::uintptr_t> caller;
  WaitedFor(
      &mutex,
      [&] {
        // The address after the call lies in this lambda, a few bytes after here.
        asm("lea (%%rip), %0" : "=r"(*reinterpret_cast<std::uintptr_t*>(&caller)));
        pthread_mutex_lock(mutex.native_handle());
        pthread_mutex_unlock(mutex.native_handle());
      },
      [&] { mutex.unlock(); });
  bool found = false;
  Api().visit_sites(
      ContentionTable::kBlock,
      [](void* context, const ContentionSite& site) {
        const std::uintptr_t at = caller;
        if (site.stack.depth > 0 && site.stack.frames[0] > at && site.stack.frames[0] < at + 64)
          *static_cast<bool*>(context) = true;
      },
      &found);
  EXPECT_TRUE(found);
}

TEST_F(LockWaits, OfTheProfilersOwnThreadsAreNotRecorded) {
  std::mutex mutex;
  mutex.lock();
  std::thread own([&] {
    heldby_core_v1()->enter_self();
    std::lock_guard<std::mutex> lock(mutex);
    heldby_core_v1()->leave_self();
  });
  usleep(10'000);
  EXPECT_EQ(WaitsUnderWay(), 0);
  mutex.unlock();
  JoinUnseen(&own);
  EXPECT_EQ(Block().contentions, 0u);
}

struct Cancelled {
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
  sem_t semaphore;
  pthread_t thread_to_end;
  std::atomic<bool> unwound{false};
  std::atomic<bool> may_go{false};
};

struct SetsAtEnd {
  std::atomic<bool>& flag;
  ~SetsAtEnd() { flag = true; }
};

void Unlock(void* mutex) { pthread_mutex_unlock(static_cast<pthread_mutex_t*>(mutex)); }

void CancelIn(const void* object, Cancelled* state, void* (*body)(void*)) {
  pthread_t thread;
  ASSERT_EQ(pthread_create(&thread, nullptr, body, state), 0);
  ASSERT_TRUE(IsWaitedFor(object));
  ASSERT_EQ(pthread_cancel(thread), 0);
  void* result = nullptr;
  ASSERT_EQ(RealCalls().join(thread, &result), 0);
  EXPECT_EQ(result, PTHREAD_CANCELED);
  EXPECT_TRUE(state->unwound) << "the frames around were unwound as ever";
  EXPECT_EQ(WaitsUnderWay(), 0);
}

TEST_F(LockWaits, ForAConditionAreCancellationPointsAndEndWhenCancelled) {
  Cancelled state;
  CancelIn(&state.condition, &state, [](void* argument) -> void* {
    auto& mine = *static_cast<Cancelled*>(argument);
    const SetsAtEnd unwound{mine.unwound};
    pthread_mutex_lock(&mine.mutex);
    pthread_cleanup_push(&Unlock, &mine.mutex);
    for (;;) pthread_cond_wait(&mine.condition, &mine.mutex);
    pthread_cleanup_pop(1);
    return nullptr;
  });
  EXPECT_EQ(pthread_mutex_trylock(&state.mutex), 0) << "it was given back";
  EXPECT_EQ(Block().contentions, 1u);
}

TEST_F(LockWaits, ForASemaphoreAreCancellationPointsAndEndWhenCancelled) {
  Cancelled state;
  sem_init(&state.semaphore, 0, 0);
  CancelIn(&state.semaphore, &state, [](void* argument) -> void* {
    auto& mine = *static_cast<Cancelled*>(argument);
    const SetsAtEnd unwound{mine.unwound};
    while (sem_wait(&mine.semaphore) != 0) {
    }
    return nullptr;
  });
  EXPECT_EQ(Block().contentions, 1u);
}

TEST_F(LockWaits, ForAThreadAreCancellationPointsAndEndWhenCancelled) {
  Cancelled state;
  pthread_create(
      &state.thread_to_end, nullptr,
      [](void* argument) -> void* {
        while (!static_cast<Cancelled*>(argument)->may_go) usleep(1000);
        return nullptr;
      },
      &state);
  CancelIn(reinterpret_cast<const void*>(state.thread_to_end), &state,
           [](void* argument) -> void* {
             auto& mine = *static_cast<Cancelled*>(argument);
             const SetsAtEnd unwound{mine.unwound};
             pthread_join(mine.thread_to_end, nullptr);
             return nullptr;
           });
  state.may_go = true;
  EXPECT_EQ(RealCalls().join(state.thread_to_end, nullptr), 0);
}

TEST_F(LockWaits, ForAFreeSemaphoreAreACancellationPointAsWell) {
  Cancelled state;
  sem_init(&state.semaphore, 0, 1);
  pthread_t thread;
  pthread_create(
      &thread, nullptr,
      [](void* argument) -> void* {
        pthread_cancel(pthread_self());
        sem_wait(&static_cast<Cancelled*>(argument)->semaphore);
        return nullptr;
      },
      &state);
  void* result = nullptr;
  ASSERT_EQ(pthread_join(thread, &result), 0);
  EXPECT_EQ(result, PTHREAD_CANCELED);
  int left = 0;
  sem_getvalue(&state.semaphore, &left);
  EXPECT_EQ(left, 1) << "it was not taken";
}

sigjmp_buf back;

TEST_F(LockWaits, ThatASignalHandlerJumpsOutOfEndWithTheNextOne) {
  struct sigaction jumps {};
  jumps.sa_handler = [](int) { siglongjmp(back, 1); };
  struct sigaction before;
  sigaction(SIGUSR1, &jumps, &before);
  sem_t semaphore;
  sem_init(&semaphore, 0, 0);
  const pthread_t waiter = pthread_self();
  std::thread poker([&, tid = gettid()] {
    EXPECT_TRUE(Eventually([tid] { return SleepsInFutex(tid); }));
    pthread_kill(waiter, SIGUSR1);
  });
  if (sigsetjmp(back, 1) == 0) {
    sem_wait(&semaphore);
  }
  JoinUnseen(&poker);
  sigaction(SIGUSR1, &before, nullptr);
  EXPECT_EQ(WaitsUnderWay(&semaphore), 1) << "nobody has told";
  const timespec soon = In(CLOCK_REALTIME, 1);
  EXPECT_EQ(sem_timedwait(&semaphore, &soon), -1);
  EXPECT_EQ(WaitsUnderWay(&semaphore), 0);
}

TEST_F(LockWaits, OfTheParentAreNotTheChilds) {
  std::mutex mutex;
  mutex.lock();
  WaitedFor(
      &mutex, [&] { std::lock_guard<std::mutex> lock(mutex); },
      [&] {
        const pid_t child = fork();
        if (child == 0) {
          const bool empty = WaitsUnderWay() == 0 &&
                             TotalsOf(ContentionTable::kBlock).contentions == 0 &&
                             TotalsOf(ContentionTable::kMutex).contentions == 0;
          mutex.unlock();
          std::timed_mutex mine;
          mine.lock();
          const timespec soon = In(CLOCK_REALTIME, 1);
          pthread_mutex_timedlock(mine.native_handle(), &soon);
          _exit(empty && TotalsOf(ContentionTable::kBlock).contentions == 1 ? 0 : 1);
        }
        int status = -1;
        EXPECT_EQ(waitpid(child, &status, 0), child);
        EXPECT_EQ(status, 0);
        mutex.unlock();
      });
  EXPECT_EQ(Block().contentions, 1u);
}

TEST_F(LockWaits, AMutexThatIsRefusedToItsOwnerWasNotWaitedFor) {
  for (const int robust : {PTHREAD_MUTEX_STALLED, PTHREAD_MUTEX_ROBUST}) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutexattr_setrobust(&attributes, robust);
    pthread_mutex_t mutex;
    pthread_mutex_init(&mutex, &attributes);
    const timespec soon = In(CLOCK_REALTIME, 1000);
    EXPECT_EQ(pthread_mutex_lock(&mutex), 0);
    EXPECT_EQ(pthread_mutex_lock(&mutex), EDEADLK);
    EXPECT_EQ(pthread_mutex_timedlock(&mutex, &soon), EDEADLK);
    EXPECT_EQ(pthread_mutex_unlock(&mutex), 0);
  }
  EXPECT_EQ(Block().contentions, 0u);
}

// Many locks, many threads, the profiles switched on and off: the locks still exclude.
TEST_F(LockWaits, LocksExcludeWhileTheProfilesAreSwitched) {
  constexpr int kThreads = 4;
  constexpr int kRounds = 20'000;
  std::mutex mutex;
  std::shared_mutex shared;
  long counted = 0;
  long written = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kRounds; ++i) {
        if (i % 1000 == t) Api().set_block_rate_ns(static_cast<std::uint64_t>(i / 1000 % 3));
        if (i % 1000 == t + 500) {
          Api().set_mutex_fraction(static_cast<std::uint64_t>(i / 1000 % 3));
        }
        {
          const std::lock_guard<std::mutex> lock(mutex);
          ++counted;
        }
        const std::unique_lock<std::shared_mutex> lock(shared);
        ++written;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(counted, kThreads * kRounds);
  EXPECT_EQ(written, kThreads * kRounds);
  EXPECT_EQ(WaitsUnderWay(), 0);
}

}  // namespace
}  // namespace heldby::core
