#include "symbolize/byte_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace heldby::symbolize {
namespace {

bool ReadFile(int fd, std::uint64_t offset, char* out, std::size_t size_bytes) {
  while (size_bytes > 0) {
    const ssize_t got = pread(fd, out, size_bytes, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    out += got;
    offset += static_cast<std::uint64_t>(got);
    size_bytes -= static_cast<std::size_t>(got);
  }
  return true;
}

bool ReadOwnMemory(std::uint64_t address, void* out, std::size_t size_bytes) {
  iovec local{out, size_bytes};
  iovec remote{reinterpret_cast<void*>(address), size_bytes};  // NOLINT: an address is a number
  if (process_vm_readv(gettid(), &local, 1, &remote, 1, 0) ==
      static_cast<ssize_t>(size_bytes)) {
    return true;
  }
  // Some seccomp filters refuse process_vm_readv; the file says the same.
  const UniqueFd memory(open("/proc/thread-self/mem", O_RDONLY | O_CLOEXEC));
  return memory.valid() && ReadFile(memory.get(), address, static_cast<char*>(out), size_bytes);
}

}  // namespace

UniqueFd::~UniqueFd() {
  if (fd_ >= 0) close(fd_);
}

UniqueFd UniqueFd::OpenFile(const std::string& path) {
  // O_NONBLOCK: a FIFO of that name must not hold us.
  UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!file.valid()) return {};
  struct stat status {};
  if (fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return {};
  if (file.get() > 2) return file;
  return UniqueFd(fcntl(file.get(), F_DUPFD_CLOEXEC, 3));
}

ByteSource ByteSource::File(int fd) {
  ByteSource source;
  struct stat status {};
  if (fd < 0 || fstat(fd, &status) != 0 || status.st_size < 0) return source;
  source.fd_ = fd;
  source.size_bytes_ = static_cast<std::uint64_t>(status.st_size);
  return source;
}

ByteSource ByteSource::Memory(std::uint64_t start, std::uint64_t size_bytes) {
  ByteSource source;
  source.memory_start_ = start;
  source.size_bytes_ = size_bytes;
  return source;
}

bool ByteSource::Read(std::uint64_t offset, void* out, std::size_t size_bytes) const {
  if (offset > size_bytes_ || size_bytes > size_bytes_ - offset) return false;
  if (size_bytes == 0) return true;
  if (fd_ >= 0) return ReadFile(fd_, offset, static_cast<char*>(out), size_bytes);
  return ReadOwnMemory(memory_start_ + offset, out, size_bytes);
}

std::string ByteSource::Text(std::uint64_t offset, std::uint64_t end,
                             std::size_t max_bytes) const {
  std::string text;
  end = std::min(end, size_bytes_);
  while (offset < end && text.size() < max_bytes) {
    char piece[256];
    const std::size_t want = std::min(
        {sizeof(piece), static_cast<std::size_t>(end - offset), max_bytes - text.size()});
    if (!Read(offset, piece, want)) return {};
    const std::size_t length = strnlen(piece, want);
    text.append(piece, length);
    if (length < want) return text;
    offset += want;
  }
  return text;
}

}  // namespace heldby::symbolize
