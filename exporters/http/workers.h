// exporters/http/workers.h - threads that the host does not notice.
//
// Threads  StartThread: any. Workers: one thread owns the object.
// Signals  every thread made here blocks all of them: the host's handlers never run on it.
// Self     an UnsampledScope spans each thread's life.
// Bounds   `limit` threads at work; 1 MiB of stack each, touched as needed.
#pragma once

#include <pthread.h>

#include <chrono>
#include <functional>
#include <memory>

#include "heldby/status.h"

namespace heldby::http {

/// `name` has at most 15 characters. `body` must not throw: what it lets out is dropped.
[[nodiscard]] Result<pthread_t> StartThread(const char* name, std::function<void()> body);

/// One short-lived thread per job: an idle endpoint has none. A pool would keep eight stacks
/// and their allocator caches in a process that is scraped four times a minute.
class Workers {
 public:
  explicit Workers(int limit);
  ~Workers();

  /// Runs `work`, gives the place back, then runs `done` on the same thread.
  /// False: all places are taken, or the system gives no thread. Nothing runs then.
  [[nodiscard]] bool TryRun(std::function<void()> work, std::function<void()> done);

  /// Waits for the running jobs until `deadline` and lets those that are not over run on
  /// unattended: they own all they touch.
  void JoinUntil(std::chrono::steady_clock::time_point deadline);

 private:
  struct Shared;
  void Reap();

  const int limit_;
  std::shared_ptr<Shared> shared_;
};

}  // namespace heldby::http
