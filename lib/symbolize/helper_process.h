// symbolize/helper_process.h - runs a program to its end without the host noticing.
//
// Threads  any.
// Signals  unsafe. All signals are blocked on this thread meanwhile.
// Bounds   the timeout; RLIMIT_AS of 2 GiB on the program; the size of `answer`.
// Source   A child of ours must raise no SIGCHLD and must not answer the host's waitpid(-1).
//          clone() with exit signal 0 gives that, but execve() sets the exit signal back to
//          SIGCHLD. So there are two processes:
//
//            host thread --clone(VM|VFORK, exit signal 0)--> middle --fork, exec--> program
//
//          The middle never execs. It has its own descriptor table (closes all, makes the
//          pipes: the host never owns one), feeds and drains the program, kills it when late,
//          reaps it and exits. It runs in the memory of the host thread, which the kernel
//          suspends until then: the answer is simply there. A double fork would not do: the
//          orphan falls to the nearest subreaper or to process 1, in a container the host.
//          If the host dies, PR_SET_PDEATHSIG takes both along.
//          Only waitpid(-1, __WALL) or __WCLONE could see the middle.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace heldby::symbolize {

enum class HelperEnd {
  kExited,   // by itself; what it wrote is in the answer
  kFailed,   // could not be started, or died
  kTimeout,  // was killed
};

/// Runs `path` without arguments, `request` on its standard input, its standard output into
/// `answer`. Besides it inherits the descriptors `fds`, under their numbers, which are above 2.
[[nodiscard]] HelperEnd RunHelper(const std::string& path, std::span<const char> request,
                                  std::span<const int> fds, int timeout_ms,
                                  std::span<char> answer, std::size_t* answer_bytes);

/// Where the helper is when nobody says so; see Symbolizer::Options::helper_path.
[[nodiscard]] std::string DefaultHelperPath();

}  // namespace heldby::symbolize
