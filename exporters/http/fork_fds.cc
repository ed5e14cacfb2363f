#include "exporters/http/fork_fds.h"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>

#include "heldby/self.h"

namespace heldby::http {
namespace {

struct Slot {
  std::atomic<int> fd_plus_one{0};  // zero-initialised memory means "free"
  std::atomic<dev_t> device{0};
  std::atomic<ino_t> inode{0};

  bool StillNames(int fd) const {
    struct stat now {};
    return ::fstat(fd, &now) == 0 && now.st_dev == device.load() && now.st_ino == inode.load();
  }
};

constinit std::array<Slot, 64> g_slots{};

void CloseAllInChild() {
  for (Slot& slot : g_slots) {
    const int value = slot.fd_plus_one.exchange(0, std::memory_order_relaxed);
    if (value != 0 && slot.StillNames(value - 1)) ::close(value - 1);
  }
}

}  // namespace

void CloseInForkedChild(int fd) {
  // Registered with the first descriptor: a process that never serves pays nothing at fork.
  static std::atomic<bool> registered{false};
  if (!registered.exchange(true)) RunInForkedChildren(&CloseAllInChild);
  struct stat facts {};
  if (::fstat(fd, &facts) != 0) return;
  for (Slot& slot : g_slots) {
    int free = 0;
    if (!slot.fd_plus_one.compare_exchange_strong(free, fd + 1)) continue;
    // A fork before these are stored finds no match and leaves the child its copy.
    slot.device = facts.st_dev;
    slot.inode = facts.st_ino;
    return;
  }
}

void ForgetForkFd(int fd) {
  for (Slot& slot : g_slots) {
    if (slot.fd_plus_one.load() != fd + 1) continue;
    slot.device = 0;
    slot.inode = 0;
    slot.fd_plus_one = 0;
    return;
  }
}

bool IsStillOurs(int fd) {
  for (const Slot& slot : g_slots) {
    if (slot.fd_plus_one.load() == fd + 1) return slot.StillNames(fd);
  }
  return true;  // the 65th: nothing is known against it
}

}  // namespace heldby::http
