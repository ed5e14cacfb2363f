// What a function would do to this process, found out in another.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <initializer_list>

#include "core/base/signals_blocked.h"
#include "heldby/self.h"

namespace heldby {
namespace {

constexpr unsigned kChildSeconds = 2;

// No word of it reaches the host's standard error, no core file its folder; and it ends,
// although a lock that another thread held when it was forked may never come free in it.
[[noreturn]] void RunAsChild(void (*function)()) {
  for (const int number : {SIGABRT, SIGALRM}) {
    struct sigaction fresh {};
    fresh.sa_handler = SIG_DFL;
    sigaction(number, &fresh, nullptr);
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  const rlimit no_core{0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  alarm(kChildSeconds);
  const long null = syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC, 0);
  if (null >= 0) syscall(SYS_dup3, null, STDERR_FILENO, 0);
  function();
  syscall(SYS_exit_group, 0);
  __builtin_unreachable();
}

}  // namespace

bool SurvivesInChild(void (*function)()) {
  UnsampledScope unsampled;
  long child = -1;
  {
    const core::SignalsBlocked no_handler_of_the_hosts_runs_in_the_child;
    // A child whose end is told by no signal, and is seen by no waitpid() but ours.
    child = syscall(SYS_clone, 0, nullptr, nullptr, nullptr, nullptr);
    if (child == 0) RunAsChild(function);
  }
  if (child < 0) return false;
  int status = -1;
  while (waitpid(static_cast<pid_t>(child), &status, __WCLONE) < 0) {
    if (errno != EINTR) return false;
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace heldby
