// Waits whose lengths it measures itself, by the clock around each call. In the end it prints
//   "waited NAME COUNT NANOSECONDS" for each function, then "ready", and stays until its
//   standard input ends.
//   waits known      a few of each kind
//   waits deadlock   two threads that wait for each other; "ready" once they do
//   waits idle       "ready"; then, for each line on its input, one wait for a mutex
#include <pthread.h>
#include <semaphore.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <shared_mutex>
#include <thread>

#include "asleep.h"

namespace {

#define NAMED extern "C" __attribute__((noinline))
constexpr int kWaits = 10;
constexpr std::chrono::milliseconds kHeld(30);

long long NowNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

struct Measured {
  const char* name;
  std::atomic<long long> delay_ns{0};
  std::atomic<int> count{0};

  template <typename Call>
  void Time(const Call& call) {
    const long long start = NowNs();
    call();
    delay_ns += NowNs() - start;
    count += 1;
  }
  void Print() const {
    std::printf("waited %s %d %lld\n", name, count.load(), delay_ns.load());
  }
};

std::mutex mutex;
std::shared_mutex shared;
std::condition_variable condition;
std::mutex condition_mutex;
bool condition_met = false;
sem_t semaphore;

}  // namespace

// Not tail calls: the frame is what is looked for.
NAMED void WaitsForMutex() {
  mutex.lock();
  asm volatile("");
}
NAMED void HoldsMutex() {
  mutex.unlock();
  asm volatile("");
}
NAMED void WaitsToRead() {
  shared.lock_shared();
  asm volatile("");
}
NAMED void WaitsToWrite() {
  shared.lock();
  asm volatile("");
}
NAMED void HoldsShared() {
  shared.unlock();
  asm volatile("");
}
NAMED void WaitsForCondition(std::unique_lock<std::mutex>* lock) {
  condition.wait(*lock);
  asm volatile("");
}
NAMED void WaitsForSemaphore() {
  sem_wait(&semaphore);
  asm volatile("");
}
NAMED void WaitsForThread(pthread_t thread) {
  pthread_join(thread, nullptr);
  asm volatile("");
}

namespace {

// One thread holds what the other then waits for, and goes on holding it while that one sleeps.
template <typename Take, typename Give, typename Wait>
void HoldAndWait(const Take& take, const Give& give, const Wait& wait) {
  take();
  std::atomic<int> waiting{0};
  std::thread waiter([&] {
    waiting = OwnTid();
    wait();
  });
  UntilAsleep(waiting);
  std::this_thread::sleep_for(kHeld);
  give();
  waiter.join();
}

void WaitOnce(Measured* measured) {
  HoldAndWait([] { mutex.lock(); }, [] { HoldsMutex(); },
              [measured] {
                measured->Time([] { WaitsForMutex(); });
                mutex.unlock();
              });
}

void Known() {
  Measured for_mutex{"WaitsForMutex"};
  Measured to_read{"WaitsToRead"};
  Measured to_write{"WaitsToWrite"};
  Measured for_condition{"WaitsForCondition"};
  Measured for_semaphore{"WaitsForSemaphore"};
  Measured for_thread{"WaitsForThread"};
  for (int i = 0; i < kWaits; ++i) {
    WaitOnce(&for_mutex);
    HoldAndWait([] { shared.lock(); }, [] { HoldsShared(); },
                [&] {
                  to_read.Time([] { WaitsToRead(); });
                  shared.unlock_shared();
                });
    HoldAndWait([] { shared.lock(); }, [] { HoldsShared(); },
                [&] {
                  to_write.Time([] { WaitsToWrite(); });
                  shared.unlock();
                });
    HoldAndWait([] { condition_met = false; },
                [] {
                  const std::lock_guard<std::mutex> lock(condition_mutex);
                  condition_met = true;
                  condition.notify_one();
                },
                [&] {
                  std::unique_lock<std::mutex> lock(condition_mutex);
                  while (!condition_met) {
                    for_condition.Time([&] { WaitsForCondition(&lock); });
                  }
                });
    HoldAndWait([] {}, [] { sem_post(&semaphore); },
                [&] { for_semaphore.Time([] { WaitsForSemaphore(); }); });
    pthread_t sleeper;
    std::atomic<int> joining{OwnTid()};
    pthread_create(
        &sleeper, nullptr,
        [](void* joiner) -> void* {
          UntilAsleep(*static_cast<std::atomic<int>*>(joiner));
          std::this_thread::sleep_for(kHeld);
          return nullptr;
        },
        &joining);
    for_thread.Time([&] { WaitsForThread(sleeper); });
  }
  for (const Measured* measured :
       {&for_mutex, &to_read, &to_write, &for_condition, &for_semaphore, &for_thread}) {
    measured->Print();
  }
}

std::mutex first;
std::mutex second;
std::atomic<int> holding{0};

}  // namespace

NAMED void LocksFirstThenSecond() {
  const std::lock_guard<std::mutex> one(first);
  for (++holding; holding < 2;) std::this_thread::yield();
  const std::lock_guard<std::mutex> two(second);
}
NAMED void LocksSecondThenFirst() {
  const std::lock_guard<std::mutex> one(second);
  for (++holding; holding < 2;) std::this_thread::yield();
  const std::lock_guard<std::mutex> two(first);
}

int main(int argc, char** argv) {
  const char* what = argc == 2 ? argv[1] : "";
  sem_init(&semaphore, 0, 0);
  Measured asked{"WaitsForMutex"};
  if (std::strcmp(what, "known") == 0) {
    Known();
  } else if (std::strcmp(what, "deadlock") == 0) {
    std::thread(LocksFirstThenSecond).detach();
    std::thread(LocksSecondThenFirst).detach();
    while (holding < 2) std::this_thread::yield();
  } else if (std::strcmp(what, "idle") != 0) {
    return 2;
  }
  std::printf("ready\n");
  std::fflush(stdout);
  for (int c = std::getchar(); c != EOF; c = std::getchar()) {
    if (c != '\n' || std::strcmp(what, "idle") != 0) continue;
    WaitOnce(&asked);
    asked.Print();
    std::fflush(stdout);
  }
  std::fflush(stdout);
  std::_Exit(0);  // the two of a deadlock never end
}
