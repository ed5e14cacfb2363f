// symbolize/byte_source.h - bytes of a file or of this process, read with every range checked.
//
// Threads  one at a time.
// Signals  unsafe.
// Units    offsets and sizes in bytes.
// Source   Files are read with pread, not mapped: a file that shrinks under a mapping is a
//          SIGBUS in the host, under pread it is a short read. Own memory is read through the
//          kernel, so that a module unmapped meanwhile is a failed read, not a crash.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

namespace heldby::symbolize {

/// Owns a file descriptor; close-on-exec and never one of 0, 1, 2.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~UniqueFd();

  /// Opens a regular file for reading; invalid if that fails.
  static UniqueFd OpenFile(const std::string& path);

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

class ByteSource {
 public:
  ByteSource() = default;
  /// Borrows `fd`.
  static ByteSource File(int fd);
  static ByteSource Memory(std::uint64_t start, std::uint64_t size_bytes);

  std::uint64_t size() const { return size_bytes_; }

  /// True iff all of [offset, offset + size_bytes) was read.
  bool Read(std::uint64_t offset, void* out, std::size_t size_bytes) const;

  template <typename T>
  std::optional<T> Get(std::uint64_t offset) const {
    static_assert(std::is_trivially_copyable_v<T>);
    T value;
    if (!Read(offset, &value, sizeof(value))) return std::nullopt;
    return value;
  }

  /// The zero-terminated text at `offset`, at most `max_bytes` of it; empty if unreadable.
  std::string Text(std::uint64_t offset, std::uint64_t end, std::size_t max_bytes) const;

 private:
  int fd_ = -1;
  std::uint64_t memory_start_ = 0;
  std::uint64_t size_bytes_ = 0;
};

}  // namespace heldby::symbolize
