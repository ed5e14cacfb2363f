#include "watch/limits.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <string>
#include <string_view>

#include "collect/cgroup.h"

namespace heldby::watch {
namespace {

static_assert(kMostLimits == 16 + 2);

std::string_view ReadFile(const OwnedFile& file, std::span<char> buffer) {
  // Whatever numbers a program keeps in a file of its own are no limits.
  if (!file.IsStillOurs()) return {};
  const ssize_t got = pread(file.fd(), buffer.data(), buffer.size(), 0);
  return {buffer.data(), got > 0 ? static_cast<std::size_t>(got) : 0};
}

bool ParseNumber(std::string_view text, std::int64_t* value) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  return std::from_chars(text.data(), text.data() + text.size(), *value).ec == std::errc();
}

// What follows `key` at the beginning of a line.
bool NumberAfter(std::string_view text, std::string_view key, std::int64_t* value) {
  for (std::size_t at = text.find(key); at != text.npos; at = text.find(key, at + 1)) {
    if (at == 0 || text[at - 1] == '\n')
      return ParseNumber(text.substr(at + key.size()), value);
  }
  return false;
}

void Open(const std::string& path, OwnedFile* file) {
  file->Set(open(path.c_str(), O_RDONLY | O_CLOEXEC));
}

}  // namespace

void Limits::Open() {
  page_bytes_ = sysconf(_SC_PAGESIZE);
  for (Reading& reading : readings_) reading.is_of_others = true;
  const collect::CgroupDirs found = collect::FindCgroupDirs("/proc/thread-self");
  is_v2_ = found.is_v2;
  for (const std::string& dir : found.dirs) {
    if (groups_count_ == kMostGroups) break;
    Group& group = groups_[groups_count_++];
    watch::Open(dir + (is_v2_ ? "/memory.max" : "/memory.limit_in_bytes"), &group.limit);
    watch::Open(dir + (is_v2_ ? "/memory.current" : "/memory.usage_in_bytes"), &group.used);
    watch::Open(dir + "/memory.stat", &group.stat);
    snprintf(group.dir, sizeof(group.dir), "%s", dir.c_str());
  }
  watch::Open("/proc/thread-self/statm", &statm_);
  watch::Open("/proc/meminfo", &meminfo_);
}

void Limits::Close() {
  for (Group& group : groups_) {
    for (OwnedFile* file : {&group.limit, &group.used, &group.stat}) file->Close();
  }
  groups_count_ = 0;
  statm_.Close();
  meminfo_.Close();
}

void Limits::ReadGroup(Group* group, std::int64_t now_ns, std::span<char> buffer,
                       Reading* reading) {
  constexpr std::int64_t kNone = INT64_MAX / 2;  // v1 says "no limit" by a number near 2^63
  constexpr std::int64_t kStatAgeNs = 200'000'000;
  reading->kind = LimitKind::kCgroup;
  std::int64_t limit = 0;
  std::int64_t used = 0;
  reading->valid = ParseNumber(ReadFile(group->limit, buffer), &limit) && limit > 0 &&
                   limit < kNone && ParseNumber(ReadFile(group->used, buffer), &used);
  if (!reading->valid) return;
  // The statistics cost a hundred times as much as the number, and matter near the limit only:
  // pages of files that nobody has used for a while go before anything is refused.
  if (used >= limit / 2) {
    if (now_ns - group->inactive_read_ns >= kStatAgeNs || used >= limit / 20 * 19) {
      group->inactive_bytes = 0;
      group->inactive_read_ns = now_ns;
      NumberAfter(ReadFile(group->stat, buffer),
                  is_v2_ ? "inactive_file " : "total_inactive_file ", &group->inactive_bytes);
    }
    used -= std::min(used, group->inactive_bytes);
  }
  reading->used_bytes = used;
  reading->limit_bytes = limit;
}

void Limits::ReadAddressSpace(std::span<char> buffer, Reading* reading) {
  reading->kind = LimitKind::kAddressSpace;
  const std::string_view text = ReadFile(statm_, buffer);
  std::int64_t pages = 0;
  std::int64_t resident_pages = 0;
  reading->valid = ParseNumber(text, &pages);
  const std::size_t space = text.find(' ');
  if (space != text.npos && ParseNumber(text.substr(space), &resident_pages)) {
    resident_bytes_ = resident_pages * page_bytes_;
  }
  rlimit limit{};
  reading->valid = reading->valid && getrlimit(RLIMIT_AS, &limit) == 0 &&
                   limit.rlim_cur != RLIM_INFINITY &&
                   limit.rlim_cur < static_cast<rlim_t>(INT64_MAX);
  if (!reading->valid) return;
  reading->used_bytes = pages * page_bytes_;
  reading->limit_bytes = static_cast<std::int64_t>(limit.rlim_cur);
}

void Limits::ReadHost(std::int64_t now_ns, std::span<char> buffer, Reading* reading) {
  constexpr std::int64_t kAgeNs = 200'000'000;
  reading->kind = LimitKind::kHost;
  if (reading->valid && now_ns - host_read_ns_ < kAgeNs) return;
  host_read_ns_ = now_ns;
  const std::string_view text = ReadFile(meminfo_, buffer);
  std::int64_t total = 0;
  std::int64_t available = 0;
  std::int64_t swap = 0;
  std::int64_t free_swap = 0;
  reading->valid =
      NumberAfter(text, "MemTotal:", &total) && NumberAfter(text, "MemAvailable:", &available);
  // What can still be swapped out is not gone.
  NumberAfter(text, "SwapTotal:", &swap);
  NumberAfter(text, "SwapFree:", &free_swap);
  reading->limit_bytes = (total + swap) * 1024;
  reading->used_bytes = (total + swap - available - free_swap) * 1024;
}

std::span<const Reading> Limits::Read(std::int64_t now_ns, std::span<char> buffer) {
  for (std::size_t i = 0; i < groups_count_; ++i) {
    ReadGroup(&groups_[i], now_ns, buffer, &readings_[i]);
  }
  ReadAddressSpace(buffer, &readings_[groups_count_]);
  ReadHost(now_ns, buffer, &readings_[groups_count_ + 1]);
  for (Reading& reading : readings_) {
    // What has counted once counts until it is clearly less.
    const std::int64_t least = reading.limit_bytes / (reading.is_of_others ? 20 : 40);
    reading.is_of_others = reading.kind != LimitKind::kAddressSpace && resident_bytes_ < least;
  }
  return {readings_, groups_count_ + 2};
}

Limits::Name Limits::NameOf(std::size_t place) const {
  if (place < groups_count_) return {"cgroup", groups_[place].dir};
  if (place == groups_count_) return {"RLIMIT_AS", ""};
  return {"memory of the host", ""};
}

}  // namespace heldby::watch
