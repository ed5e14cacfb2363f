#include "watch/owned_file.h"

#include <unistd.h>

namespace heldby::watch {

bool OwnedFile::Set(int fd) {
  struct stat facts {};
  if (fd < 0 || fstat(fd, &facts) != 0) return false;
  Close();
  fd_ = fd;
  device_ = facts.st_dev;
  inode_ = facts.st_ino;
  return true;
}

bool OwnedFile::IsStillOurs() const {
  struct stat facts {};
  return fd_ >= 0 && fstat(fd_, &facts) == 0 && IsThatFile(facts);
}

bool OwnedFile::IsDeleted() const {
  struct stat facts {};
  return fstat(fd_, &facts) == 0 && facts.st_nlink == 0;
}

void OwnedFile::Close() {
  if (IsStillOurs()) close(fd_);
  fd_ = -1;
}

}  // namespace heldby::watch
