#include "exporters/http/fork_fds.h"

#include <pthread.h>
#include <unistd.h>

#include <array>
#include <atomic>

namespace heldby::http {
namespace {

// A slot holds fd + 1, so that zero-initialised memory means "free".
constinit std::array<std::atomic<int>, 64> g_slots{};

void CloseAllInChild() {
  for (auto& slot : g_slots) {
    const int value = slot.exchange(0, std::memory_order_relaxed);
    if (value != 0) ::close(value - 1);
  }
}

}  // namespace

void CloseInForkedChild(int fd) {
  // Registered with the first descriptor: a process that never serves pays nothing at fork.
  [[maybe_unused]] static const int registered =
      ::pthread_atfork(nullptr, nullptr, CloseAllInChild);
  for (auto& slot : g_slots) {
    int free = 0;
    if (slot.compare_exchange_strong(free, fd + 1)) return;
  }
}

void ForgetForkFd(int fd) {
  for (auto& slot : g_slots) {
    int expected = fd + 1;
    if (slot.compare_exchange_strong(expected, 0)) return;
  }
}

}  // namespace heldby::http
