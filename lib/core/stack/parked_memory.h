// core/stack/parked_memory.h - loads from the stack of a thread that may go on at any moment,
// and of code that may not be meant to be read.
//
// The pages of such a stack can vanish between a look and a load. process_vm_readv cannot
// fault; a window of it is copied at a time, since frames lie close together.
//
// Threads  an object belongs to one walk.   Signals  safe.   Allocates  never.
// Bounds   4 KiB a window; the walk bounds their number. errno kept.
#pragma once

#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace heldby::core {

class ParkedMemory {
 public:
  /// The thread is another one: of its registers the kernel told only two.
  static constexpr bool kTellsTheFramePointer = false;

  explicit ParkedMemory(std::uintptr_t) {}

  /// The bytes from `address` on, until the next call: `wanted` or more, or as many as there
  /// are.
  const unsigned char* Look(std::uintptr_t address, std::size_t wanted, std::size_t* size) {
    if (address - begin_ > size_ || size_ - (address - begin_) < wanted) Fill(address);
    *size = size_ - (address - begin_);
    return window_ + (address - begin_);
  }

  bool Load(std::uintptr_t address, std::uint64_t* value) {
    if (address - begin_ > size_ || size_ - (address - begin_) < sizeof(*value)) {
      if (!Fill(address)) return false;
    }
    std::memcpy(value, window_ + (address - begin_), sizeof(*value));
    return true;
  }

 private:
  static constexpr std::uintptr_t kWindow = 4096;

  // Up to the end of the next page: a copy stops at the first page that is not there. By the
  // number of this thread: that of the process is its first thread's, which has no memory any
  // more once it has ended.
  bool Fill(std::uintptr_t address) {
    const int kept = errno;
    iovec local{window_, kWindow};
    iovec remote{reinterpret_cast<void*>(address), kWindow};
    const ssize_t got = process_vm_readv(gettid(), &local, 1, &remote, 1, 0);
    errno = kept;
    begin_ = address;
    size_ = got > 0 ? static_cast<std::uintptr_t>(got) : 0;
    return size_ >= sizeof(std::uint64_t);
  }

  std::uintptr_t begin_ = 0;
  std::uintptr_t size_ = 0;
  unsigned char window_[kWindow];
};

}  // namespace heldby::core
