// watch/owned_file.h - a descriptor that a program may have closed over our heads.
//
// Threads  one.   Signals  unsafe.   Allocates  never.
//
// Daemons close every descriptor there is, and what they open next has the same number. Nothing
// of theirs must be written to, moved, or closed.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

namespace heldby::watch {

class OwnedFile {
 public:
  OwnedFile() = default;
  OwnedFile(const OwnedFile&) = delete;
  OwnedFile& operator=(const OwnedFile&) = delete;
  ~OwnedFile() { Close(); }

  /// Takes over what open() returned. False: nothing, errno as it was.
  bool Set(int fd);
  /// -1: none. It may be another file by now.
  int fd() const { return fd_; }
  /// The number still means the same file.
  bool IsStillOurs() const;
  /// No name leads to it any more.
  bool IsDeleted() const;
  bool IsThatFile(const struct stat& facts) const {
    return facts.st_dev == device_ && facts.st_ino == inode_;
  }
  void Close();

 private:
  int fd_ = -1;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace heldby::watch
