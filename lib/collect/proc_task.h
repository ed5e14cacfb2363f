// collect/proc_task.h - what /proc/self/task/TID says of a thread.
//
// Threads  any.   Signals  unsafe: allocates.   Units  in the names.
// Source   proc(5): stat, comm, status, schedstat, syscall.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/core.h"

namespace heldby::collect {

[[nodiscard]] std::vector<std::int32_t> ThreadIds();

/// Where a thread waits in the kernel.
struct ParkedAt {
  bool is_parked = false;  // false: it runs, or is not told
  bool is_told = false;    // false: the thread is gone, or the kernel keeps it to root
  long call = -1;          // a system call's number; -1: a page fault, for instance
  std::uint64_t arguments[6] = {};
  core::Registers registers{};
  bool operator==(const ParkedAt& other) const;
};

class ProcTask {
 public:
  explicit ProcTask(std::int32_t tid) : tid_(tid) {}

  [[nodiscard]] std::string Name() const;
  [[nodiscard]] ParkedAt Where() const;
  /// 'R', 'S', 'D', 'Z' ...; 0: it is gone.
  struct Stat {
    char state = 0;
    std::int64_t age_ns = 0;
  };
  [[nodiscard]] Stat Read() const;
  /// Grows whenever it has run on a processor; empty: this kernel does not count it.
  [[nodiscard]] std::string TimeRun() const;
  /// Blocks or ignores it, or takes signals by sigwait(): it must not be sent one.
  [[nodiscard]] bool Blocks(int signal) const;
  [[nodiscard]] bool IsGone() const { return Read().state == 0; }

 private:
  [[nodiscard]] std::string File(const char* name) const;
  [[nodiscard]] bool HasBlocked(int signal) const;

  std::int32_t tid_;
};

/// "epoll_wait", "futex"; "system call 451" for one without a name here.
[[nodiscard]] std::string CallName(long call);
/// "fd 7", if the first argument of `call` is a descriptor.
[[nodiscard]] std::string WaitsOn(const ParkedAt& parked);
/// A signal with SA_RESTART leaves this wait as it was, whatever the socket's options.
[[nodiscard]] bool IsAlwaysRestarted(const ParkedAt& parked);

}  // namespace heldby::collect
