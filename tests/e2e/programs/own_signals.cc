// A host that has every signal that profilers use for itself: SIGPROF by setitimer(), SIGALRM,
// SIGURG, SIGUSR1, SIGCHLD and two real-time signals. It counts what comes, and ends with what
// was taken from it. Built without heldby. Exits with 9.
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

namespace {

volatile sig_atomic_t counts[NSIG];
volatile sig_atomic_t strangers = 0;  // sent by nobody that this program knows

void Count(int signal, siginfo_t* info, void*) {
  counts[signal] = counts[signal] + 1;
  const bool from_timer = signal == SIGPROF || signal == SIGALRM;
  const bool known = from_timer || signal == SIGCHLD || info->si_pid == getpid();
  if (!known) strangers = strangers + 1;
}

struct sigaction Own() {
  struct sigaction action = {};
  action.sa_sigaction = &Count;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  sigemptyset(&action.sa_mask);
  return action;
}

int Taken(const int* signals, int count) {
  int taken = 0;
  for (int i = 0; i < count; ++i) {
    struct sigaction now;
    sigaction(signals[i], nullptr, &now);
    taken += now.sa_sigaction != &Count;
  }
  return taken;
}

}  // namespace

int main() {
  const int signals[] = {SIGPROF, SIGALRM, SIGURG, SIGUSR1, SIGCHLD, SIGRTMAX, SIGRTMIN};
  constexpr int kCount = sizeof(signals) / sizeof(signals[0]);
  const struct sigaction own = Own();
  for (const int signal : signals) sigaction(signal, &own, nullptr);
  const itimerval often = {{0, 5000}, {0, 5000}};
  setitimer(ITIMER_PROF, &often, nullptr);
  setitimer(ITIMER_REAL, &often, nullptr);
  std::atomic<bool> end{false};
  std::thread worker([&end] {
    while (!end) std::free(std::malloc(1000));
  });
  std::puts("ready");
  std::fflush(stdout);
  constexpr int kSent = 200;
  for (int i = 0; i < kSent; ++i) {
    raise(SIGURG);
    raise(SIGRTMAX);
    raise(SIGRTMIN);
    const timespec pause{0, 5'000'000};
    nanosleep(&pause, nullptr);
  }
  while (std::getchar() != EOF) {
  }
  // Still wound up: the next of each comes.
  const sig_atomic_t before[2] = {counts[SIGPROF], counts[SIGALRM]};
  while (counts[SIGPROF] == before[0] || counts[SIGALRM] == before[1])
    std::free(std::malloc(10));
  itimerval left;
  getitimer(ITIMER_PROF, &left);
  end = true;
  worker.join();
  std::printf(
      "SIGURG %d, SIGRTMAX %d, SIGRTMIN %d, SIGUSR1 %d, SIGCHLD %d, strangers %d, taken %d, "
      "every %ld us\n",
      counts[SIGURG], counts[SIGRTMAX], counts[SIGRTMIN], counts[SIGUSR1], counts[SIGCHLD],
      strangers, Taken(signals, kCount), static_cast<long>(left.it_interval.tv_usec));
  std::fflush(stdout);
  return 9;
}
