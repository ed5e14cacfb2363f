// core/stack/own_signal.h - the one signal of this process that is ours, for two purposes:
// asking a thread where it is (signal_capture.h) and the timers of a CPU profile.
//
// Threads  any.   Signals  OurSignal() is unsafe; what is handed over runs in the handler, with
// all signals blocked and errno kept around it.   Allocates  never.
// Bounds   one real-time signal, the highest that nobody handles.
#pragma once

#include <signal.h>

namespace heldby::core {

using SignalHandler = void (*)(const siginfo_t& info, const void* context);

/// What was sent by tgsigqueueinfo, and what a timer sent. Before OurSignal().
void HandleQuestions(SignalHandler handler);
void HandleTimers(SignalHandler handler);

/// Its number; 0: no real-time signal is free, or they are forbidden. Installed once and left:
/// a signal on its way must never find the default action, which ends the process. Another
/// signal is taken if the host has taken this one over meanwhile.
int OurSignal();

/// From now on OurSignal() is 0.
void ForbidSignals();
bool SignalsAreForbidden();

}  // namespace heldby::core
