// core/base/write_signals.h - what a write of ours may raise, kept from a host that expects
// none: SIGPIPE where nobody reads standard error any more, SIGXFSZ where a file may not grow.
//
// Threads  any; it is the calling one that blocks.
// Signals  safe.
// Allocates  never.   errno kept.
// Source   signal(7): both are sent to the thread that writes.
#pragma once

#include <errno.h>
#include <signal.h>
#include <time.h>

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
    while (sigtimedwait(&ours_, nullptr, &at_once) > 0) {
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    errno = kept;
  }
  WriteSignalsBlocked(const WriteSignalsBlocked&) = delete;
  WriteSignalsBlocked& operator=(const WriteSignalsBlocked&) = delete;

 private:
  sigset_t before_;
  sigset_t ours_;
};

}  // namespace heldby::core
