#include "core/base/error_line.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>

#include "core/base/write_signals.h"

namespace heldby::core {
namespace {

struct Place {
  dev_t device;
  ino_t inode;
  bool operator==(const Place&) const = default;
};

bool is_noted = false;  // by a constructor, before there are threads
bool was_open = false;
Place noted{};
std::atomic<std::uint64_t> left_out{0};

bool Look(int fd, struct stat* facts, Place* place) {
  if (fstat(fd, facts) != 0) return false;
  *place = {facts->st_dev, facts->st_ino};
  return true;
}

bool IsStandardError() {
  struct stat facts;
  Place now;
  if (!Look(STDERR_FILENO, &facts, &now)) return false;
  if (!is_noted || (was_open && now == noted)) return true;
  // Past our own fcntl().
  const long flags = syscall(SYS_fcntl, STDERR_FILENO, F_GETFL, 0);
  if (S_ISREG(facts.st_mode) && flags >= 0 && (flags & O_APPEND) != 0) return true;
  struct stat out_facts;
  Place out;
  return Look(STDOUT_FILENO, &out_facts, &out) && now == out;
}

bool Write(const iovec* parts, int count) {
  std::size_t bytes = 0;
  for (int i = 0; i < count; ++i) bytes += parts[i].iov_len;
  const WriteSignalsBlocked no_signals;
  if (!IsStandardError() || !TakesALine(STDERR_FILENO)) return false;
  // Past libc's, which is a cancellation point.
  const long wrote = syscall(SYS_writev, STDERR_FILENO, parts, count);
  return wrote == static_cast<long>(bytes);
}

}  // namespace

void NoteStandardError() {
  const int kept = errno;
  struct stat facts;
  was_open = Look(STDERR_FILENO, &facts, &noted);
  is_noted = true;
  errno = kept;
}

void WriteErrorLine(const iovec* parts, int count) {
  const int kept = errno;
  if (!Write(parts, count)) left_out.fetch_add(1, std::memory_order_relaxed);
  errno = kept;
}

std::uint64_t ErrorLinesLeftOut() { return left_out.load(std::memory_order_relaxed); }

}  // namespace heldby::core
