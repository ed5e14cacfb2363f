// exporters/http/fork_fds.h - descriptors of ours, and whether they still are.
//
// A child that holds our listener keeps the port busy after the parent has died, and one that
// holds a connection keeps its client waiting for an end of file. CLOEXEC covers exec only.
//
// A daemon may close every descriptor it does not know, and then the numbers are its own: what
// is closed or written to by number must first be asked whether it is what it was.
//
// Threads  any; lock-free.
// Signals  safe (the child's half runs between fork and exec).
// Bounds   64 descriptors; further ones are simply inherited.
// Order    register after opening, forget before closing: a fork in between inherits one
//          descriptor too many, and never closes a number that has become somebody else's.
#pragma once

namespace heldby::http {

/// Shells and daemons put files at low numbers by themselves, whatever lies there: ours begin
/// here.
inline constexpr int kFirstFd = 100;

void CloseInForkedChild(int fd);
void ForgetForkFd(int fd);

/// False: the number no longer names the socket or file that was registered with it.
[[nodiscard]] bool IsStillOurs(int fd);

}  // namespace heldby::http
