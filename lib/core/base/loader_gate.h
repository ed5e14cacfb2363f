// core/base/loader_gate.h - a fork, or a thread of ours inside the dynamic linker; never both.
//
// A child that is forked while another thread has the linker's lock inherits it, locked for
// ever: its next dlopen would hang, ours or the host's. So a fork waits until we have come out,
// and we do not go in while a fork is under way.
//
// Threads  any. A thread inside fork() is never made to wait a second time by what handlers of
//          fork do (they may fork themselves): it is counted, and counted once.
// Signals  unsafe, but for fork itself.
// Allocates never.   Self  errno is kept.
// Bounds   a fork waits a second at most. While one has waited in vain, none does any more:
//          the forking thread may itself be what we wait for in the linker.
// Source   glibc 2.36 nptl/fork.c: no lock of the linker's is taken or made anew. fork(2): the
//          handlers of pthread_atfork run in the forking thread, those of the child in its
//          copy.
#pragma once

#include <cstdint>

namespace heldby::core {

/// Before a thread of ours begins: a handler that is registered while a fork is under way is
/// left out of that fork. More calls change nothing.
void WatchForks();

/// For microseconds inside. Waits for the forks that are under way, a second at most, and no
/// longer than that for all callers together until one of these forks ends. False: not inside.
bool EnterLoaderBriefly();

/// False, at once: not inside, since a fork is under way.
bool EnterLoaderNow();

/// For as long as it takes to load a library. Lets forks go first, and holds new ones back if
/// that does not end. After a minute it is inside all the same: one of the forks is none any
/// more, its thread has left it by pthread_exit or a jump out of a handler.
void EnterLoader();

/// REQUIRES: inside, by one of the above.
void LeaveLoader();

/// The calling thread runs a handler of pthread_atfork, inside of `fork`.
bool IsForking();

/// How many forks have waited in vain since we were last outside, and 0 from now on.
std::uint32_t TakeVainForks();

}  // namespace heldby::core
