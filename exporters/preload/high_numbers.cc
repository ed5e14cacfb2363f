#include "exporters/preload/high_numbers.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

namespace heldby::preload {
namespace {

constexpr int kFirstTaken = 3;
constexpr rlim_t kLeastRoom = 256;

}  // namespace

LowNumbersTaken::LowNumbersTaken() {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur < kLeastRoom) return;
  int ends[2];
  // Of all that could be opened, a pipe has an inode of its own, and needs no file system.
  if (::pipe2(ends, O_CLOEXEC) != 0) return;
  struct stat facts {};
  if (::fstat(ends[0], &facts) == 0) {
    device_ = facts.st_dev;
    inode_ = facts.st_ino;
    for (;;) {
      const int fd = ::fcntl(ends[0], F_DUPFD_CLOEXEC, kFirstTaken);
      if (fd < 0 || fd >= http::kFirstFd) {
        if (fd >= 0) ::close(fd);
        break;
      }
      taken_.set(static_cast<std::size_t>(fd));
    }
  }
  for (const int end : ends) {
    if (end >= kFirstTaken && end < http::kFirstFd && inode_ != 0) {
      taken_.set(static_cast<std::size_t>(end));
    } else {
      ::close(end);
    }
  }
}

LowNumbersTaken::~LowNumbersTaken() {
  for (int fd = kFirstTaken; fd < http::kFirstFd; ++fd) {
    if (!taken_.test(static_cast<std::size_t>(fd))) continue;
    // The host may have put something there meanwhile.
    struct stat facts {};
    const bool is_ours =
        ::fstat(fd, &facts) == 0 && facts.st_dev == device_ && facts.st_ino == inode_;
    if (is_ours) ::close(fd);
  }
}

}  // namespace heldby::preload
