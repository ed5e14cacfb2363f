// A service as the manuals advise: every signal blocked in all threads, one of which takes them
// with sigwait(), here with a timeout and some work in between. Another one works all the time.
// A signal that nobody sent on purpose ends it with status 3.
#include <signal.h>
#include <time.h>

#include <atomic>
#include <cstdio>
#include <thread>

namespace {

std::atomic<unsigned> sink{0};

void Work(int turns) {
  for (int i = 0; i < turns; ++i) sink.fetch_add(1, std::memory_order_relaxed);
}

int TakeSignals(const sigset_t& all) {
  for (;;) {
    const timespec soon{0, 20'000'000};
    if (const int taken = sigtimedwait(&all, nullptr, &soon); taken > 0) return taken;
    Work(300'000);
  }
}

}  // namespace

int main() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, nullptr);
  std::thread([] {
    for (;;) Work(1'000'000);
  }).detach();
  std::puts("ready");
  std::fflush(stdout);
  const int taken = TakeSignals(all);
  std::printf("took signal %d\n", taken);
  std::fflush(stdout);
  std::_Exit(taken == SIGTERM ? 0 : 3);
}
