// exporters/http/fork_fds.h - descriptors that a forked child must not keep.
//
// A child that holds our listener keeps the port busy after the parent has died, and one that
// holds a connection keeps its client waiting for an end of file. CLOEXEC covers exec only.
//
// Threads  any; lock-free.
// Signals  safe (the child's half runs between fork and exec).
// Bounds   64 descriptors; further ones are simply inherited.
// Order    register after opening, forget before closing: a fork in between inherits one
//          descriptor too many, and never closes a number that has become somebody else's.
#pragma once

namespace heldby::http {

void CloseInForkedChild(int fd);
void ForgetForkFd(int fd);

}  // namespace heldby::http
