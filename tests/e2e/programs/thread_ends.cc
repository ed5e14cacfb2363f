// A host whose threads end in every way there is, in the middle of what is wrapped. Built
// without heldby; the scenario is the first argument. Prints "done" and exits with 9 when all
// is well.
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <new>
#include <string>
#include <thread>
#include <vector>

namespace {

std::atomic<int> unwound{0};
struct Witness {
  std::string text = std::string(500, 'w');
  ~Witness() { unwound += text.size() == 500; }
};

pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
sem_t semaphore;
int quiet_pair[2];
int listener;
pthread_t sleeper;

void UnlockMutex(void*) { pthread_mutex_unlock(&mutex); }

// Each waits for ever in one call that is a cancellation point.
void* InRead(void*) {
  Witness witness;
  char byte;
  return reinterpret_cast<void*>(read(quiet_pair[0], &byte, 1));
}
void* InReceive(void*) {
  Witness witness;
  char byte;
  return reinterpret_cast<void*>(recv(quiet_pair[0], &byte, 1, 0));
}
void* InAccept(void*) {
  Witness witness;
  return reinterpret_cast<void*>(static_cast<long>(accept(listener, nullptr, nullptr)));
}
void* InCondition(void*) {
  Witness witness;
  pthread_mutex_lock(&mutex);
  pthread_cleanup_push(&UnlockMutex, nullptr);
  for (;;) pthread_cond_wait(&condition, &mutex);
  pthread_cleanup_pop(1);
  return nullptr;
}
void* InTimedCondition(void*) {
  Witness witness;
  timespec deadline;
  clock_gettime(CLOCK_REALTIME, &deadline);
  deadline.tv_sec += 1000;
  pthread_mutex_lock(&mutex);
  pthread_cleanup_push(&UnlockMutex, nullptr);
  for (;;) pthread_cond_timedwait(&condition, &mutex, &deadline);
  pthread_cleanup_pop(1);
  return nullptr;
}
void* InSemaphore(void*) {
  Witness witness;
  sem_wait(&semaphore);
  return nullptr;
}
void* InJoin(void*) {
  Witness witness;
  pthread_join(sleeper, nullptr);
  return nullptr;
}
// No cancellation point: ends when it is given the lock.
void* InLock(void*) {
  Witness witness;
  pthread_mutex_lock(&mutex);
  pthread_mutex_unlock(&mutex);
  pthread_testcancel();
  return nullptr;
}

int CancelEverywhere() {
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, quiet_pair) != 0) return 1;
  listener = socket(AF_INET, SOCK_STREAM, 0);
  if (listen(listener, 8) != 0 || sem_init(&semaphore, 0, 0) != 0) return 1;
  std::atomic<bool> end{false};
  std::thread sleeping([&end] {
    while (!end) usleep(1000);
  });
  sleeper = sleeping.native_handle();
  void* (*const waits[])(void*) = {&InRead,           &InReceive,   &InAccept, &InCondition,
                                   &InTimedCondition, &InSemaphore, &InJoin,   &InLock};
  int threads = 0;
  int cancelled = 0;
  for (int turn = 0; turn < 100; ++turn) {
    for (auto* wait : waits) {
      if (wait == &InLock) pthread_mutex_lock(&mutex);
      pthread_t thread;
      if (pthread_create(&thread, nullptr, wait, nullptr) != 0) return 1;
      // Early, in the middle, and when it sleeps.
      if (turn % 3 != 0) usleep(static_cast<useconds_t>(turn % 3) * 300);
      pthread_cancel(thread);
      if (wait == &InLock) pthread_mutex_unlock(&mutex);
      void* result = nullptr;
      pthread_join(thread, &result);
      ++threads;
      cancelled += result == PTHREAD_CANCELED;
    }
  }
  // Whoever was cancelled left no lock behind.
  const bool free = pthread_mutex_trylock(&mutex) == 0;
  end = true;
  sleeping.join();
  return cancelled == threads && unwound == threads && free ? 0 : 1;
}

struct AtThreadEnd {
  std::vector<std::string> texts;
  ~AtThreadEnd() {
    for (int i = 0; i < 20; ++i) texts.emplace_back(static_cast<std::size_t>(i * 100 + 1), 'e');
    unwound += texts.size() == 21;
  }
};

void UseThreadLocal() {
  thread_local AtThreadEnd last;
  last.texts.assign(1, "x");
}

[[noreturn]] __attribute__((noinline)) void ExitDeep(int depth) {
  Witness witness;
  if (depth > 0) ExitDeep(depth - 1);
  pthread_exit(&unwound);
}

int ExitThreads() {
  constexpr int kThreads = 500;
  constexpr int kDepth = 10;
  int wrong = 0;
  for (int i = 0; i < kThreads; ++i) {
    pthread_t thread;
    const auto run = [](void*) -> void* {
      UseThreadLocal();
      ExitDeep(kDepth);
    };
    if (pthread_create(&thread, nullptr, run, nullptr) != 0) return 1;
    void* result = nullptr;
    pthread_join(thread, &result);
    wrong += result != &unwound;
  }
  return wrong + (unwound != kThreads * (kDepth + 2));
}

int TenThousandThreads() {
  constexpr int kThreads = 10'000;
  constexpr int kAtOnce = 50;
  std::atomic<int> ran{0};
  for (int i = 0; i < kThreads / kAtOnce; ++i) {
    std::vector<std::thread> threads;
    for (int t = 0; t < kAtOnce; ++t) {
      threads.emplace_back([&ran, t] {
        UseThreadLocal();
        ran += std::string(static_cast<std::size_t>(t * 30 + 1), 'x').back() == 'x';
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  return ran == kThreads && unwound == kThreads ? 0 : 1;
}

// Through the frames of operator new: what a handler of the host's throws.
struct OutOfMemory {
  int turn;
};
int turns = 0;

int ThrowThroughNew() {
  constexpr int kTurns = 20'000;
  volatile std::size_t too_much = static_cast<std::size_t>(1) << 60;
  int caught = 0;
  std::set_new_handler([] { throw OutOfMemory{turns++}; });
  for (int i = 0; i < kTurns; ++i) {
    Witness witness;
    try {
      if (i % 3 == 0) delete static_cast<char*>(::operator new(too_much));
      if (i % 3 == 1) delete[] new char[too_much];
      if (i % 3 == 2) {
        ::operator delete (::operator new (too_much, std::align_val_t{64}),
                           std::align_val_t{64});
      }
    } catch (const OutOfMemory& problem) {
      caught += problem.turn == i;
    }
  }
  std::set_new_handler(nullptr);
  for (int i = 0; i < kTurns; ++i) {
    try {
      delete[] new char[too_much];
    } catch (const std::bad_alloc&) {
      ++caught;
    }
  }
  return caught == 2 * kTurns && unwound == kTurns ? 0 : 1;
}

// Out of a thread's function, to std::terminate: SIGABRT, as ever.
int ThrowOutOfThread() {
  std::thread([] { throw 1; }).join();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string scenario = argc > 1 ? argv[1] : "";
  const int failures = scenario == "cancel"      ? CancelEverywhere()
                       : scenario == "exit"      ? ExitThreads()
                       : scenario == "many"      ? TenThousandThreads()
                       : scenario == "new"       ? ThrowThroughNew()
                       : scenario == "terminate" ? ThrowOutOfThread()
                                                 : -1;
  if (failures != 0) {
    std::printf("%s: %d failures (%d unwound)\n", scenario.c_str(), failures, unwound.load());
    return 1;
  }
  std::puts("done");
  return 9;
}
