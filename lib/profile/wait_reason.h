// profile/wait_reason.h - a futex is what the kernel calls it; the frames say what it is.
//
// Threads  any.   Signals  unsafe: allocates.
// Source   glibc's functions that wait: condition variables, mutexes, joins, semaphores.
#pragma once

#include "heldby/profile.h"

namespace heldby {

/// In the `state` label of each sample: "futex" becomes "condition", "mutex", "join",
/// "semaphore", "rwlock", "barrier" or "once" where a frame near the leaf tells. Other states
/// and stacks without such a frame stay.
void NameFutexWaits(Profile* profile);

}  // namespace heldby
