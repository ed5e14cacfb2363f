#include "heldby/self.h"

#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>
#include <exception>

#include "core/base/setting.h"
#include "core/base/write_signals.h"
#include "runtime/core_access.h"

namespace heldby {
namespace {

// Those of a library that was loaded late are allocated when a thread first uses them, and libc
// ends the process if they cannot be. So they are used at once, and only when there is memory;
// an exception of a thread's that runs out of it later finds libstdc++'s in their place.
bool HasThreadLocalData() {
  constexpr std::size_t kRoomBytes = 64 << 10;
  void* volatile room = std::malloc(kRoomBytes);
  if (room == nullptr) return false;
  std::free(room);
  [[maybe_unused]] static thread_local volatile char ours;
  ours = 1;
  return std::uncaught_exceptions() >= 0;
}

}  // namespace

UnsampledScope::UnsampledScope() {
  if (const core::CoreApi* core = runtime::Core()) core->enter_self();
}

UnsampledScope::~UnsampledScope() {
  if (const core::CoreApi* core = runtime::Core()) core->leave_self();
}

void RunInForkedChildren(void (*function)()) {
  const core::CoreApi* core = runtime::Core();
  if (core == nullptr || !core->run_in_forked_children(function)) {
    pthread_atfork(nullptr, nullptr, function);
  }
}

void WriteErrorLine(std::string_view line) {
  if (const core::CoreApi* core = runtime::Core()) {
    return core->write_error_line(line.data(), line.size());
  }
  // A core of another version, or none: nobody knows what standard error was.
  const core::WriteSignalsBlocked no_signals;
  if (!core::TakesALine(STDERR_FILENO)) return;
  if (::write(STDERR_FILENO, line.data(), line.size()) < 0) return;
}

void BecomeProfilerThread() {
  if (const core::CoreApi* core = runtime::Core()) {
    core->threads->become_own();
    core::setting_source.store(core->setting, std::memory_order_release);
  }
  while (!HasThreadLocalData()) {
    const timespec pause{0, 10'000'000};
    nanosleep(&pause, nullptr);
  }
}

}  // namespace heldby
