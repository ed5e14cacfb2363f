#include "core/stack/own_signal.h"

#include <errno.h>
#include <string.h>

#include <atomic>

namespace heldby::core {
namespace {

std::atomic<SignalHandler> on_question{nullptr};
std::atomic<SignalHandler> on_timer{nullptr};
std::atomic<bool> forbidden{false};

void OnSignal(int, siginfo_t* info, void* context) {
  const int kept = errno;
  const auto& whose = info->si_code == SI_TIMER ? on_timer : on_question;
  const SignalHandler handler = whose.load(std::memory_order_acquire);
  const bool is_ours = info->si_code == SI_TIMER || info->si_code == SI_QUEUE;
  if (is_ours && handler != nullptr) handler(*info, context);
  errno = kept;
}

}  // namespace

void HandleQuestions(SignalHandler handler) {
  on_question.store(handler, std::memory_order_release);
}
void HandleTimers(SignalHandler handler) { on_timer.store(handler, std::memory_order_release); }

int OurSignal() {
  if (SignalsAreForbidden()) return 0;
  for (int signal = SIGRTMAX; signal >= SIGRTMIN; --signal) {
    struct sigaction known;
    if (sigaction(signal, nullptr, &known) != 0) continue;
    if ((known.sa_flags & SA_SIGINFO) != 0) {
      if (known.sa_sigaction == &OnSignal) return signal;
      continue;
    }
    if (known.sa_handler != SIG_DFL) continue;
    struct sigaction ours;
    memset(&ours, 0, sizeof(ours));
    ours.sa_sigaction = &OnSignal;
    ours.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
    sigfillset(&ours.sa_mask);
    if (sigaction(signal, &ours, nullptr) == 0) return signal;
  }
  return 0;
}

void ForbidSignals() { forbidden.store(true, std::memory_order_relaxed); }
bool SignalsAreForbidden() { return forbidden.load(std::memory_order_relaxed); }

}  // namespace heldby::core
