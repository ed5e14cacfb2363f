// core/base/write_signals.h - what a write of ours may do to a host that expects none: raise
// SIGPIPE where nobody reads standard error any more, SIGXFSZ where a file may not grow; wait
// where a pipe is full.
//
// Threads  any; it is the calling one that blocks.
// Signals  safe.
// Allocates  never.   errno kept.
// Source   signal(7): both are sent to the thread that writes.
#pragma once

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

namespace heldby::core {

class WriteSignalsBlocked {
 public:
  WriteSignalsBlocked() {
    const int kept = errno;
    sigset_t pending;
    sigset_t both;
    sigpending(&pending);
    sigemptyset(&both);
    sigemptyset(&ours_);
    constexpr int kSignals[] = {SIGPIPE, SIGXFSZ};
    for (const int signal : kSignals) {
      sigaddset(&both, signal);
      // One that waits already is the host's.
      if (sigismember(&pending, signal) == 0) sigaddset(&ours_, signal);
    }
    pthread_sigmask(SIG_BLOCK, &both, &before_);
    errno = kept;
  }
  ~WriteSignalsBlocked() {
    const int kept = errno;
    const timespec at_once{0, 0};
    // Past libc's, which is a cancellation point.
    while (syscall(SYS_rt_sigtimedwait, &ours_, nullptr, &at_once, kSetBytes) > 0) {
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    errno = kept;
  }
  WriteSignalsBlocked(const WriteSignalsBlocked&) = delete;
  WriteSignalsBlocked& operator=(const WriteSignalsBlocked&) = delete;

 private:
  static constexpr long kSetBytes = 8;  // the kernel's
  sigset_t before_;
  sigset_t ours_;
};

/// False: a line would wait for its reader, and is better not written.
inline bool TakesALine(int fd) {
  const int kept = errno;
  pollfd out = {fd, POLLOUT, 0};
  // Past libc's, which is a cancellation point. One that cannot be asked is tried.
  const bool is_full = syscall(SYS_poll, &out, 1, 0) == 0;
  errno = kept;
  return !is_full;
}

}  // namespace heldby::core
