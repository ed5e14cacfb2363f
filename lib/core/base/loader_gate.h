// core/base/loader_gate.h - a fork, or a thread of ours at work in the dynamic linker; never
// both.
//
// dl_iterate_phdr, and dlopen for moments, take a lock that a child inherits locked, for ever:
// its next dlopen would hang, ours or the host's. And a library that is half loaded stays so
// there. So a fork waits until we have come out, and we do not go in while a fork is under way.
//
// Threads  any. A fork in a handler of fork is part of the outer one: it never waits for who
//          waits for that.
// Signals  unsafe, but for fork itself. While it waits they are held back, so that a handler
//          neither forks in the middle of it nor jumps out.
// Allocates never.   Self  errno is kept.
// Bounds   a fork waits a second at most. While one has waited in vain, none does any more:
//          the forking thread may itself be what we wait for in the linker.
// Source   glibc 2.36: fork makes _dl_load_lock and _dl_load_tls_lock anew in the child, and
//          _dl_load_write_lock not. fork(2): the handlers of pthread_atfork run in the forking
//          thread, those of the child in its copy.
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

/// For as long as it takes to load a library. Lets forks go first, and holds new ones back for
/// half a second if that does not end. After a minute it is inside all the same: one of the
/// forks is none any more, its thread has left it by pthread_exit, or by a jump and has not
/// forked again from there.
void EnterLoader();

/// REQUIRES: inside, by one of the above, in this process.
void LeaveLoader();

/// The calling thread runs a handler of pthread_atfork, inside of `fork`.
bool IsForking();

/// In a child: how many forks had waited in vain in its parent since we were last outside.
std::uint32_t VainForksOfParent();

}  // namespace heldby::core
