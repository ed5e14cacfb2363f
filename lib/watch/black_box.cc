#include "watch/black_box.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "watch/text_sink.h"

namespace heldby::watch {

bool BlackBox::Create(const DumpFolder& folder, std::int64_t pid, std::int64_t time_seconds,
                      std::string_view mark) {
  // A write beyond this limit is a signal that ends the program (ulimit -f).
  rlimit most{};
  if (getrlimit(RLIMIT_FSIZE, &most) == 0 && most.rlim_cur < dump::kBoxBytes) {
    errno = EFBIG;
    return false;
  }
  // In containers that share a folder everybody is process 1.
  constexpr int kTries = 100;
  for (int i = 0; i < kTries; ++i) {
    const FileName whole = MakeName(pid, time_seconds + i, ".box");
    name_ = MakeName(pid, time_seconds + i, ".box.partial");
    if (!file_.Set(
            openat(folder.fd(), name_.text, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600))) {
      if (errno == EEXIST) continue;
      return false;
    }
    flock(file_.fd(), LOCK_EX);  // whoever tries it to find out lets go at once
    const bool is_full = Fill(mark);
    if (is_full && Rename(folder, whole)) {
      Map();
      return true;
    }
    const int error = errno;
    Remove(folder);
    errno = error;
    // ENOENT: taken for one that was left behind, before it was locked.
    if (!is_full || (error != EEXIST && error != ENOENT)) return false;
  }
  return false;
}

bool BlackBox::Fill(std::string_view mark) {
  // Line ends, not zeroes: a box is a text. And written, not reserved: the pages are there.
  memset(half_, '\n', sizeof(half_));
  mark.copy(half_, dump::kBoxHeadingBytes);
  for (const std::size_t at : {std::size_t{0}, dump::kBoxHalfBytes}) {
    const ssize_t wrote = pwrite(file_.fd(), half_, sizeof(half_), static_cast<off_t>(at));
    if (wrote == static_cast<ssize_t>(sizeof(half_))) continue;
    if (wrote >= 0) errno = ENOSPC;
    return false;
  }
  return true;
}

// Never over another one's. Not every file system can do that in one step (NFS, FUSE), or by a
// link; where none can, two processes of one number would have to begin at one moment.
bool BlackBox::Rename(const DumpFolder& folder, const FileName& name) {
  const int fd = folder.fd();
  const char* from = name_.text;
  bool is_done = renameat2(fd, from, fd, name.text, RENAME_NOREPLACE) == 0;
  if (!is_done && errno != EEXIST && errno != ENOENT) {
    is_done = linkat(fd, from, fd, name.text, 0) == 0;
    if (is_done) unlinkat(fd, from, 0);
  }
  if (!is_done && errno != EEXIST && errno != ENOENT) {
    struct stat facts {};
    if (fstatat(fd, name.text, &facts, AT_SYMLINK_NOFOLLOW) == 0) {
      errno = EEXIST;
    } else if (errno == ENOENT) {
      is_done = renameat(fd, from, fd, name.text) == 0;
    }
  }
  if (!is_done) return false;
  name_ = name;
  // A third of our number may have made the partial name anew after a second took ours away.
  struct stat facts {};
  if (fstatat(fd, name.text, &facts, AT_SYMLINK_NOFOLLOW) == 0 && file_.IsThatFile(facts)) {
    return true;
  }
  errno = ENOENT;
  return false;
}

void BlackBox::Map() {
  mapped_ = mmap(nullptr, dump::kBoxBytes, PROT_READ, MAP_SHARED, file_.fd(), 0);
  if (mapped_ == MAP_FAILED) mapped_ = nullptr;
  if (mapped_ != nullptr && mlock(mapped_, dump::kBoxBytes) != 0) {
    // Not allowed: the pages may have to be read again.
  }
}

bool BlackBox::Publish(std::size_t bytes) {
  if (!file_.IsStillOurs()) {
    errno = EBADF;
    return false;
  }
  const std::size_t which = sequence_ % 2;
  const std::uint64_t sequence = sequence_ + 1;
  memset(half_, ' ', dump::kBoxHeadingBytes);
  const std::uint64_t sum = dump::BoxSum(sequence, {text(), bytes});
  TextSink heading(-1, half_, dump::kBoxHeadingBytes, SIZE_MAX);
  heading.Text(dump::kBoxMagic).Number(static_cast<std::int64_t>(sequence)).Text(" ");
  heading.Number(static_cast<std::int64_t>(bytes)).Text(" ").Hex(sum);
  half_[dump::kBoxHeadingBytes - 1] = '\n';
  // What a longer text has left behind it.
  const std::size_t end = std::max(bytes, last_bytes_[which]);
  memset(text() + bytes, '\n', end - bytes);
  last_bytes_[which] = bytes;
  const std::size_t size = dump::kBoxHeadingBytes + end;
  const ssize_t wrote =
      pwrite(file_.fd(), half_, size, static_cast<off_t>(which * dump::kBoxHalfBytes));
  if (wrote != static_cast<ssize_t>(size)) {
    // The half may be broken now: the next text goes there, too, and the other one stays.
    if (wrote >= 0) errno = ENOSPC;
    return false;
  }
  sequence_ = sequence;
  if (!file_.IsDeleted()) return true;
  errno = ENOENT;  // somebody tidied the folder: nobody will find it
  return false;
}

void BlackBox::Remove(const DumpFolder& folder) {
  struct stat facts {};
  std::int64_t free_bytes = 0;
  if (file_.fd() >= 0 && folder.Examine(0, &free_bytes) != Refusal::kFile &&
      fstatat(folder.fd(), name_.text, &facts, AT_SYMLINK_NOFOLLOW) == 0 &&
      file_.IsThatFile(facts)) {
    unlinkat(folder.fd(), name_.text, 0);
  }
  Close();
}

void BlackBox::Close() {
  if (mapped_ != nullptr) munmap(mapped_, dump::kBoxBytes);
  mapped_ = nullptr;
  file_.Close();
}

}  // namespace heldby::watch
