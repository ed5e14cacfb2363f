// What a wrapped lock and unlock cost, beside libc's own in the same process. To be preloaded,
// with the contention profiles off or on.
//
//   contention OPERATIONS CHUNKS         "<ns of a bare lock and unlock> <ns of wrapped ones>
//   <ns
//                                        of a bare read lock and unlock> <ns of wrapped ones>"
//   contention OPERATIONS bare|wrapped   nothing: for counting instructions
//   contention OPERATIONS contended      "<ns of a round by wrapped calls, two threads at
//   once>" contention OPERATIONS handed-over    "<us of a lock that another thread has just
//   given up>"
#include <dlfcn.h>
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

namespace {

using Clock = std::chrono::steady_clock;

struct Calls {
  int (*lock)(pthread_mutex_t*);
  int (*unlock)(pthread_mutex_t*);
  int (*read_lock)(pthread_rwlock_t*);
  int (*rw_unlock)(pthread_rwlock_t*);
};

const Calls& Wrapped() {
  static const Calls calls = {&::pthread_mutex_lock, &::pthread_mutex_unlock,
                              &::pthread_rwlock_rdlock, &::pthread_rwlock_unlock};
  return calls;
}

const Calls& Bare() {
  static const Calls calls = [] {
    void* libc = dlopen("libc.so.6", RTLD_NOW);
    const auto find = [&](const char* name) { return dlsym(libc, name); };
    return Calls{reinterpret_cast<int (*)(pthread_mutex_t*)>(find("pthread_mutex_lock")),
                 reinterpret_cast<int (*)(pthread_mutex_t*)>(find("pthread_mutex_unlock")),
                 reinterpret_cast<int (*)(pthread_rwlock_t*)>(find("pthread_rwlock_rdlock")),
                 reinterpret_cast<int (*)(pthread_rwlock_t*)>(find("pthread_rwlock_unlock"))};
  }();
  return calls;
}

pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;

template <typename Body>
double NsOf(long operations, const Body& body) {
  const auto start = Clock::now();
  for (long i = 0; i < operations; ++i) body();
  return std::chrono::duration<double, std::nano>(Clock::now() - start).count() /
         static_cast<double>(operations);
}

double MutexNs(const Calls& calls, long operations) {
  return NsOf(operations, [&] {
    calls.lock(&mutex);
    calls.unlock(&mutex);
  });
}

double ReadLockNs(const Calls& calls, long operations) {
  return NsOf(operations, [&] {
    calls.read_lock(&rwlock);
    calls.rw_unlock(&rwlock);
  });
}

double ContendedNs(long operations) {
  volatile long shared = 0;
  const auto body = [&] {
    NsOf(operations, [&] {
      Wrapped().lock(&mutex);
      for (int i = 0; i < 100; ++i) shared = shared + 1;
      Wrapped().unlock(&mutex);
    });
  };
  const auto start = Clock::now();
  std::thread other(body);
  body();
  other.join();
  return std::chrono::duration<double, std::nano>(Clock::now() - start).count() /
         static_cast<double>(2 * operations);
}

// Between the unlocking and the moment at which who slept for the lock has it.
double HandedOverUs(long operations) {
  double total = 0;
  for (long i = 0; i < operations; ++i) {
    std::atomic<Clock::time_point> given;
    Clock::time_point got;
    std::atomic<bool> there{false};
    Wrapped().lock(&mutex);
    std::thread waiter([&] {
      there = true;
      Wrapped().lock(&mutex);
      got = Clock::now();
      Wrapped().unlock(&mutex);
    });
    while (!there) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    given = Clock::now();
    Wrapped().unlock(&mutex);
    waiter.join();
    total += std::chrono::duration<double, std::micro>(got - given.load()).count();
  }
  return total / static_cast<double>(operations);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const long operations = std::atol(argv[1]);
  const char* what = argv[2];
  if (std::strcmp(what, "bare") == 0) return MutexNs(Bare(), operations) < 0;
  if (std::strcmp(what, "wrapped") == 0) return MutexNs(Wrapped(), operations) < 0;
  if (std::strcmp(what, "contended") == 0) {
    std::printf("%.1f\n", ContendedNs(operations));
    return 0;
  }
  if (std::strcmp(what, "handed-over") == 0) {
    std::printf("%.1f\n", HandedOverUs(operations));
    return 0;
  }
  double best[4] = {1e12, 1e12, 1e12, 1e12};
  for (long chunk = 0; chunk < std::atol(what); ++chunk) {
    best[0] = std::min(best[0], MutexNs(Bare(), operations));
    best[1] = std::min(best[1], MutexNs(Wrapped(), operations));
    best[2] = std::min(best[2], ReadLockNs(Bare(), operations));
    best[3] = std::min(best[3], ReadLockNs(Wrapped(), operations));
  }
  std::printf("%.2f %.2f %.2f %.2f\n", best[0], best[1], best[2], best[3]);
}
