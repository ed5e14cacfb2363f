#include "heldby/memory_watch.h"

#include <stdlib.h>

#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <utility>

#include "heldby/self.h"
#include "runtime/core_access.h"
#include "watch/watcher.h"

namespace heldby {
namespace {

// One per process: two would write the same dumps.
struct TheWatch {
  std::mutex mutex;
  std::unique_ptr<watch::Watcher> watcher;
  std::string directory;     // which the watcher points to
  std::uint64_t number = 0;  // of the last one started
  bool is_over = false;      // exit() has been here: a box made now would stay
};

// Never destroyed: the handler of exit() may run after static destruction.
TheWatch& Watch() {
  static auto* const the_watch = new TheWatch();
  return *the_watch;
}

// The thread is not there. The lock may be held by one that is not there either, so it begins
// anew, too; what is left in it is not used again.
void ForgetInChild() {
  TheWatch& watch = Watch();
  watch::Watcher* watcher = watch.watcher.release();
  new (&watch.mutex) std::mutex();
  if (watcher != nullptr) watcher->ForgetInChild();
}

void StopNumber(std::uint64_t number) {
  UnsampledScope unsampled;
  TheWatch& watch = Watch();
  const std::lock_guard lock(watch.mutex);
  if (number != 0 && watch.number == number) watch::Watcher::End(std::move(watch.watcher));
}

// It waits for a watch that is being started.
void StopAtExit() {
  UnsampledScope unsampled;
  TheWatch& watch = Watch();
  const std::lock_guard lock(watch.mutex);
  watch.is_over = true;
  watch::Watcher::End(std::move(watch.watcher));
}

Status Unusable(const std::string& directory, const std::string& why) {
  return {StatusCode::kUnavailable,
          "directory is \"" + directory + "\": " + why +
              "; accepted: a folder on a disk that can be written to"};
}

// `number` stays 0 if the process is about to end.
Status Begin(const MemoryWatchOptions& options, std::uint64_t* number) {
  constexpr std::int64_t kMostSeconds = 1'000'000'000;
  const core::CoreApi* core = runtime::Core();
  if (core == nullptr) {
    return {StatusCode::kUnavailable, "the core is missing or of another version"};
  }
  if (options.directory.empty()) {
    return {StatusCode::kInvalidArgument, "directory is \"\"; accepted: the path of a folder"};
  }
  if (options.cooldown_seconds < 0 || options.cooldown_seconds > kMostSeconds) {
    return {StatusCode::kInvalidArgument,
            "cooldown_seconds is " + std::to_string(options.cooldown_seconds) +
                "; accepted: 0 to " + std::to_string(kMostSeconds)};
  }
  if (options.least_free_bytes < 0 || options.least_free_bytes > INT64_MAX / 2) {
    return {StatusCode::kInvalidArgument,
            "least_free_bytes is " + std::to_string(options.least_free_bytes) +
                "; accepted: 0 to " + std::to_string(INT64_MAX / 2)};
  }
  TheWatch& watch = Watch();
  const std::lock_guard lock(watch.mutex);
  if (watch.watcher != nullptr) {
    return {StatusCode::kFailedPrecondition,
            "memory is watched already, with dumps in " + watch.directory};
  }
  static const bool registered = [] {
    RunInForkedChildren(&ForgetInChild);
    return atexit(&StopAtExit) == 0;
  }();
  if (watch.is_over || !registered) return {};
  watch.directory = options.directory;
  char why[watch::Watcher::kWhyBytes] = "";
  watch.watcher =
      watch::Watcher::Start(*core,
                            {.folder = watch.directory.c_str(),
                             .cooldown_ns = options.cooldown_seconds * 1'000'000'000,
                             .least_free_bytes = options.least_free_bytes},
                            why);
  if (watch.watcher == nullptr) return Unusable(options.directory, why);
  *number = ++watch.number;
  return {};
}

}  // namespace

Result<MemoryWatch> MemoryWatch::Start(const MemoryWatchOptions& options) {
  UnsampledScope unsampled;
  try {
    std::uint64_t number = 0;
    Status status = Begin(options, &number);
    if (!status.ok()) return status;
    return MemoryWatch(number);
  } catch (const std::exception& error) {
    return Status(StatusCode::kResourceExhausted,
                  std::string("cannot watch memory: ") + error.what());
  }
}

MemoryWatch::MemoryWatch(MemoryWatch&& other) noexcept
    : watch_(std::exchange(other.watch_, 0)) {}

MemoryWatch& MemoryWatch::operator=(MemoryWatch&& other) noexcept {
  if (this != &other) {
    Stop();
    watch_ = std::exchange(other.watch_, 0);
  }
  return *this;
}

MemoryWatch::~MemoryWatch() { Stop(); }

void MemoryWatch::Stop() { StopNumber(std::exchange(watch_, 0)); }

}  // namespace heldby
