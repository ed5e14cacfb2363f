#include "watch/dump_folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>

#include "watch/peer_text.h"
#include "watch/text_sink.h"

namespace heldby::watch {
namespace {

constexpr std::string_view kPrefix = "heldby.";
constexpr std::string_view kDumpEnding = ".heap";
constexpr std::string_view kPartialEnding = ".partial";
constexpr std::string_view kBoxEnding = ".box";

// "20261123T134952Z" of "heldby.4711.20261123T134952Z.90.heap"; empty: not of ours.
std::string_view TimeIn(std::string_view name, std::string_view ending) {
  constexpr std::size_t kTimeBytes = 16;
  if (!name.starts_with(kPrefix) || !name.ends_with(ending)) return {};
  name.remove_prefix(kPrefix.size());
  const std::size_t digits = name.find_first_not_of("0123456789");
  if (digits == 0 || digits == name.npos || name[digits] != '.') return {};
  name.remove_prefix(digits + 1);
  if (name.size() < kTimeBytes + ending.size() || name[8] != 'T' || name[15] != 'Z') return {};
  return name.substr(0, kTimeBytes);
}

std::string_view WithoutPartial(std::string_view name) {
  if (name.ends_with(kPartialEnding)) name.remove_suffix(kPartialEnding.size());
  return name;
}

// In a folder of many users (/var/tmp) theirs may not be removed, and would stand in the way.
bool IsOfThisUser(int folder, const char* name) {
  struct stat facts {};
  return fstatat(folder, name, &facts, AT_SYMLINK_NOFOLLOW) == 0 && facts.st_uid == geteuid();
}

bool IsLocked(int folder, const char* name) {
  const int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return true;  // another user's: none of our business
  const bool locked = flock(fd, LOCK_EX | LOCK_NB) != 0;
  close(fd);
  return locked;
}

struct Census {
  std::size_t count = 0;
  char oldest_time[17] = "";
  char oldest[FileName::kBytes] = "";
};

// Names in the folder, one after the other.
template <typename Visit>
void ForEachName(int folder, std::span<char> buffer, const Visit& visit) {
  if (lseek(folder, 0, SEEK_SET) != 0) return;
  while (true) {
    const ssize_t got = getdents64(folder, buffer.data(), buffer.size());
    if (got <= 0) return;
    for (ssize_t at = 0; at < got;) {
      const auto* entry = reinterpret_cast<const dirent64*>(buffer.data() + at);
      at += entry->d_reclen;
      visit(entry->d_name);
    }
  }
}

// How many files of one kind there are, and the oldest that may go.
Census Count(int folder, std::string_view ending, std::span<char> buffer) {
  Census census;
  ForEachName(folder, buffer, [&](const char* file) {
    const std::string_view name = file;
    // Of one that was killed while it wrote: as large, and as much worth.
    const std::string_view time = TimeIn(WithoutPartial(name), ending);
    if (time.empty() || name.size() >= sizeof(census.oldest)) return;
    if (!IsOfThisUser(folder, file)) return;
    if (ending == kBoxEnding && IsLocked(folder, file)) return;
    ++census.count;
    if (census.oldest[0] != '\0' && time >= census.oldest_time) return;
    census.oldest_time[time.copy(census.oldest_time, sizeof(census.oldest_time) - 1)] = '\0';
    census.oldest[name.copy(census.oldest, sizeof(census.oldest) - 1)] = '\0';
  });
  return census;
}

bool BeginsWithMark(int folder, const char* name, std::string_view mark) {
  const int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return false;
  char text[512];
  const ssize_t got = pread(fd, text, sizeof(text), 0);
  close(fd);
  return got > 0 &&
         std::string_view(text, static_cast<std::size_t>(got)).find(mark) != mark.npos;
}

}  // namespace

const char* NameOf(Refusal refusal) {
  switch (refusal) {
    case Refusal::kMemoryFile:
      return "tmpfs";
    case Refusal::kShortDisk:
      return "disk_short";
    case Refusal::kFile:
      return "file";
    case Refusal::kSmallProcess:
      return "small_process";
    case Refusal::kNone:
      break;
  }
  return "none";
}

FileName MakeName(std::int64_t pid, std::int64_t time_seconds, std::string_view ending) {
  FileName name;
  TextSink sink(-1, name.text, sizeof(name.text) - 1, SIZE_MAX);
  sink.Text(kPrefix).Number(pid).Text(".");
  UtcTime(time_seconds, /*for_file_names=*/true, &sink);
  sink.Text(ending);
  name.text[sink.column()] = '\0';
  return name;
}

bool DumpFolder::Open(const char* path) {
  return file_.Set(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

Refusal DumpFolder::Examine(std::int64_t bytes, std::int64_t* free_bytes) const {
  struct statfs facts {};
  if (!file_.IsStillOurs() || fstatfs(fd(), &facts) != 0) return Refusal::kFile;
  // What a block is for counting; f_bsize may be a megabyte, for reading (NFS, FUSE).
  const auto block_bytes = facts.f_frsize != 0 ? facts.f_frsize : facts.f_bsize;
  *free_bytes = static_cast<std::int64_t>(facts.f_bavail) * block_bytes;
  if (facts.f_type == TMPFS_MAGIC || facts.f_type == RAMFS_MAGIC ||
      facts.f_type == HUGETLBFS_MAGIC) {
    return Refusal::kMemoryFile;
  }
  return *free_bytes < bytes ? Refusal::kShortDisk : Refusal::kNone;
}

void DumpFolder::RemoveEarlierBox(std::int64_t pid, std::string_view mark,
                                  std::span<char> buffer) const {
  FileName ours;
  TextSink sink(-1, ours.text, sizeof(ours.text) - 1, SIZE_MAX);
  sink.Text(kPrefix).Number(pid).Text(".");
  const std::string_view prefix(ours.text, sink.column());
  ForEachName(fd(), buffer, [&](const char* file) {
    const std::string_view name = file;
    const std::string_view whole = WithoutPartial(name);
    const bool is_partial = whole.size() != name.size();  // has no mark yet, or no name
    if (name.starts_with(prefix) && !TimeIn(whole, kBoxEnding).empty() &&
        !IsLocked(fd(), file) && (is_partial || BeginsWithMark(fd(), file, mark))) {
      unlinkat(fd(), file, 0);
    }
  });
}

void DumpFolder::Sweep(std::span<char> buffer) const {
  constexpr int kMostAtOnce = 256;
  for (const auto& [ending, most] :
       {std::pair(kDumpEnding, kMostDumps), std::pair(kBoxEnding, kMostBoxes)}) {
    for (int i = 0; i < kMostAtOnce; ++i) {
      const Census census = Count(fd(), ending, buffer);
      if (census.count <= most || unlinkat(fd(), census.oldest, 0) != 0) break;
    }
  }
}

}  // namespace heldby::watch
