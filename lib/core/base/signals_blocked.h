// core/base/signals_blocked.h - no signal of the host's meanwhile, nor in a thread born
// meanwhile.
//
// Threads  any; it is the calling one that blocks.
// Signals  safe.
// Allocates  never.
// Source   pthread_create(3): a thread inherits the mask. Blocking inside the new thread would
//          leave a window for the host's handlers.
#pragma once

#include <signal.h>

namespace heldby::core {

class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

}  // namespace heldby::core
