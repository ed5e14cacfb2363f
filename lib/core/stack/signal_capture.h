// core/stack/signal_capture.h - the stacks of threads that run, by asking them.
//
// A thread in user code has its registers in the processor: only it can tell where it is, and
// it is made to by a signal. That ends a wait that SA_RESTART does not restart (poll,
// epoll_wait, nanosleep, a socket with a timeout) with EINTR, so it is for threads that do not
// wait, or wait in what is restarted.
//
// Threads  any; one caller at a time, others are told so.   Signals  unsafe to call; the
// handler: no locks, no allocation, errno kept, safe on an alternate stack.
// Bounds   kAtOnce threads at a time; all of them together within one deadline.
// Progress the caller waits for answers, never longer than the deadline. A thread that answers
//          later finds its question withdrawn and does nothing.
// Fork     the child has no questions open.
#pragma once

#include <cstdint>

#include "core/base/thread_slot.h"
#include "core/stack/capture.h"

namespace heldby::core {

enum class Answer : std::uint8_t {
  kNotAsked,   // forbidden, no signal is free, another caller is at it, or the deadline passed
               // before
  kGiven,      // `stack` and `holder` hold it
  kNone,       // asked, and silent until the deadline
  kThreadGone  // ended before it could be asked
};

struct AskedThread {
  std::int32_t tid;
  Answer answer;
  Holder holder;  // what it works on
  Stack stack;
};

/// Asks each of them, by a signal of our own (own_signal.h). Returns its number; 0: there is
/// none, nobody was asked.
int CaptureBySignal(AskedThread* threads, int count, std::uint64_t timeout_ns);

/// function(a, b) on another stack, which ends below `top`. In the file of the architecture.
void CallOnStack(void* top, void (*function)(void*, void*), void* a, void* b);

void ForgetQuestionsInChild();

}  // namespace heldby::core
