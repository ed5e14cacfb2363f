// core/registry/descriptors.h - which connection a file descriptor is, for calls that are
// wrapped.
//
// Threads  any, lock-free.   Signals  safe.   Allocates  never from the host's heap.
// errno    kept by every function.   Cancellation  no state outlives a call.
// Bounds   descriptors below 1,048,576; beyond it a socket is not recorded and dropped() grows.
// Fork     BeginAnewInChild(). A vfork child shares this memory but not the descriptors: what
//          it closes or duplicates changes nothing here.
//
// A flat array, reserved as address space and indexed by descriptor: a receive costs one load
// more. A descriptor is told from the next one with its number in two ways. Seen: close(fd)
// takes the entry out before the kernel can give the number away. Unseen (close_range, fclose,
// io_uring): SO_COOKIE is compared when the number is opened again, when somebody looks at the
// page, and, now and then (kCheckNs, kLookEvery), when something is received.
//
// Descriptors that are duplicates share their connection; the last one that is closed ends it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "core/registry/registry.h"

namespace heldby::core {

class Descriptors {
 public:
  static constexpr int kCount = 1 << 20;
  /// Received() looks at the clock every eighth time, and at the socket if this has passed.
  static constexpr std::uint64_t kCheckNs = 100'000'000;
  static constexpr std::uint32_t kLookEvery = 8;

  constexpr explicit Descriptors(Registry* registry) : registry_(registry) {}

  /// Until then every descriptor is 0, and nothing is recorded. False: no address space.
  bool Watch();
  bool watching() const { return slots_.load(std::memory_order_relaxed) != nullptr; }

  /// 0: no connection. The whole cost of a call on something else.
  std::uint32_t Look(int fd) const {
    const std::atomic<std::uint32_t>* slots = slots_.load(std::memory_order_acquire);
    if (slots == nullptr || static_cast<unsigned>(fd) >= kCount) return 0;
    return slots[fd].load(std::memory_order_acquire);
  }

  /// `fd` is a new socket. Its connection; 0: not a stream socket, or no room.
  std::uint32_t Open(int fd, bool outbound, std::uintptr_t caller, StackTable* stacks);
  /// `fd` again names the connection it is entered with.
  bool IsStill(int fd, std::uint32_t id);
  /// `fd` was `id`, not 0, when a call on it began that has now received something. Returns
  /// `got`: who calls this last needs to keep nothing meanwhile.
  std::ptrdiff_t Received(int fd, std::uint32_t id, std::ptrdiff_t got);
  /// This thread works for `id` now, if it does not say otherwise.
  void Suggest(std::uint32_t id);
  /// `fd` is a duplicate of a descriptor that was `id`.
  void Share(std::uint32_t id, int fd);

  /// Before a close: takes the entry out. Then Drop(), or PutBack() if nothing was closed.
  std::uint32_t Take(int fd);
  void PutBack(int fd, std::uint32_t id);
  void Drop(int fd, std::uint32_t id);
  /// Take() and Drop() of this connection only.
  void Close(int fd, std::uint32_t id);

  /// The program makes `fd` known itself: the connection that was seen already becomes its own.
  /// 0: there was none.
  std::uint32_t TakeOver(int fd, bool outbound, std::uintptr_t caller, StackTable* stacks);
  /// `fd` is a connection that the program has made known.
  void Bind(int fd, std::uint32_t id);
  /// The program has ended it; the descriptor lives on as nobody's.
  void Unbind(std::uint32_t id);

  /// Ends an implicit connection whose close went unseen.
  void Reconcile(std::uint32_t id);

  void BeginAnewInChild();

  std::uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }

 private:
  bool Ours() const;
  std::ptrdiff_t CheckReceived(ConnectionRecord* record, int fd, std::uint32_t id,
                               std::ptrdiff_t got);
  void Enter(int fd, std::uint32_t id);
  int Another(std::uint32_t id, std::uint64_t cookie) const;

  Registry* const registry_;
  std::atomic<std::atomic<std::uint32_t>*> slots_{nullptr};
  std::atomic<int> used_{0};   // no descriptor from here on was ever entered
  std::atomic<int> owner_{0};  // the process
  std::atomic<std::uint64_t> dropped_{0};
};

/// The one of this process. Constant-initialised.
extern Descriptors descriptors __attribute__((visibility("hidden")));

}  // namespace heldby::core
