#include "core/registry/thread_table.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

namespace heldby::core {
namespace {

// Threads get their numbers one after the other: neighbours lie side by side.
std::uint32_t FirstOf(std::int32_t tid) {
  return static_cast<std::uint32_t>(tid) % ThreadTable::kCapacity;
}

bool IsAlive(std::int32_t tid) { return syscall(SYS_tgkill, getpid(), tid, 0) == 0; }

}  // namespace

void ThreadTable::List() {
  const int kept = errno;
  const auto tid = static_cast<std::int32_t>(syscall(SYS_gettid));
  thread_slot.tid = tid;
  // A free place or one of its own number; else one of a thread that is gone, which costs a
  // system call to find out and so is asked for only when there is no other.
  for (const bool take_over : {false, true}) {
    std::uint32_t at = FirstOf(tid);
    for (std::uint32_t probe = 0; probe < kProbes; ++probe, at = (at + 1) % kCapacity) {
      Entry& entry = entries_[at];
      std::int32_t owner = entry.tid.load(std::memory_order_acquire);
      if (owner != 0 && owner != tid && (!take_over || IsAlive(owner))) continue;
      if (!entry.tid.compare_exchange_strong(owner, tid, std::memory_order_acq_rel)) continue;
      entry.slot.store(&thread_slot, std::memory_order_release);
      errno = kept;
      return;
    }
  }
  dropped_.fetch_add(1, std::memory_order_relaxed);
  errno = kept;
}

bool ThreadTable::Read(std::int32_t tid, ThreadSlot* slot) const {
  std::uint32_t at = FirstOf(tid);
  for (std::uint32_t probe = 0; probe < kProbes; ++probe, at = (at + 1) % kCapacity) {
    const Entry& entry = entries_[at];
    if (entry.tid.load(std::memory_order_acquire) != tid) continue;
    const ThreadSlot* theirs = entry.slot.load(std::memory_order_acquire);
    const int kept = errno;
    iovec local{slot, sizeof(*slot)};
    iovec remote{const_cast<ThreadSlot*>(theirs), sizeof(*slot)};
    const bool whole = theirs != nullptr &&
                       process_vm_readv(gettid(), &local, 1, &remote, 1, 0) == sizeof(*slot);
    errno = kept;
    // The place may have been taken over before its new owner's slot was written.
    return whole && slot->tid == tid;
  }
  return false;
}

void ThreadTable::BeginAnewInChild() {
  for (Entry& entry : entries_) {
    if (entry.tid.load(std::memory_order_relaxed) == 0) continue;
    entry.tid.store(0, std::memory_order_relaxed);
    entry.slot.store(nullptr, std::memory_order_relaxed);
  }
  thread_slot.tid = 0;
}

}  // namespace heldby::core
