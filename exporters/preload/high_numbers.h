// exporters/preload/high_numbers.h - descriptors of ours above those that programs choose.
//
// A shell gives numbers to files by itself ("exec 3>log", configure's 5 and 6), as do daemons
// with dup2(): what lies at such a number is closed without a word. If that is the endpoint's,
// its thread goes on with a file of the host's.
//
// Threads  one at a time.   Signals  unsafe.   Units  none.
// Bounds   nothing is moved where RLIMIT_NOFILE leaves no room above.
#pragma once

#include <sys/types.h>

#include <bitset>

#include "exporters/http/fork_fds.h"

namespace heldby::preload {

/// While it lives, what is opened has a number of http::kFirstFd or more: those below are
/// taken. For a moment, in which no fork may happen.
class LowNumbersTaken {
 public:
  LowNumbersTaken();
  ~LowNumbersTaken();
  LowNumbersTaken(const LowNumbersTaken&) = delete;
  LowNumbersTaken& operator=(const LowNumbersTaken&) = delete;

 private:
  std::bitset<http::kFirstFd> taken_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace heldby::preload
