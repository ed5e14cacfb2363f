#include "collect/cgroup.h"

#include <algorithm>
#include <limits>
#include <string_view>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "collect/small_file.h"
#include "profile/text.h"

namespace heldby::collect {
namespace {

struct Mount {
  std::string root;   // what of the hierarchy is mounted
  std::string point;  // where
};

// "36 35 98:0 /root /point rw,noatime master:1 - cgroup cgroup rw,memory"
bool FindMount(std::string_view mountinfo, bool v2, Mount* mount) {
  for (const absl::string_view line : absl::StrSplit(AsPiece(mountinfo), '\n')) {
    const std::vector<absl::string_view> halves =
        absl::StrSplit(line, absl::MaxSplits(" - ", 1));
    if (halves.size() != 2) continue;
    const std::vector<absl::string_view> before = absl::StrSplit(halves[0], ' ');
    const std::vector<absl::string_view> after = absl::StrSplit(halves[1], ' ');
    if (before.size() < 5 || after.size() < 3) continue;
    if (after[0] != (v2 ? "cgroup2" : "cgroup")) continue;
    const std::vector<absl::string_view> options = absl::StrSplit(after[2], ',');
    if (!v2 && std::find(options.begin(), options.end(), "memory") == options.end()) continue;
    *mount = {std::string(before[3]), std::string(before[4])};
    return true;
  }
  return false;
}

// "4:memory:/a/b", "0::/a/b"
bool FindGroup(std::string_view cgroup, bool v2, std::string* path) {
  for (const absl::string_view line : absl::StrSplit(AsPiece(cgroup), '\n')) {
    const std::vector<absl::string_view> parts = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() != 3) continue;
    const std::vector<absl::string_view> names = absl::StrSplit(parts[1], ',');
    const bool is_memory = std::find(names.begin(), names.end(), "memory") != names.end();
    if (v2 ? parts[0] == "0" && parts[1].empty() : is_memory) {
      *path = std::string(parts[2]);
      return true;
    }
  }
  return false;
}

std::vector<std::string> DirsUpTo(const Mount& mount, std::string path) {
  // Inside a container the hierarchy's root may be the group itself.
  if (mount.root != "/" && path.starts_with(mount.root)) path.erase(0, mount.root.size());
  if (path.starts_with("/..")) path.clear();  // outside of what this namespace shows
  while (path.ends_with('/')) path.pop_back();
  std::vector<std::string> dirs = {mount.point + path};
  while (!path.empty()) {
    path.erase(path.rfind('/') == path.npos ? 0 : path.rfind('/'));
    dirs.push_back(mount.point + path);
  }
  return dirs;
}

// No limit is "max", or in v1 a number near 2^63.
std::int64_t LimitIn(const std::string& text) {
  constexpr std::int64_t kNone = std::numeric_limits<std::int64_t>::max();
  std::int64_t limit = 0;
  if (!absl::SimpleAtoi(text, &limit) || limit <= 0 || limit > kNone / 2) return kNone;
  return limit;
}

}  // namespace

CgroupDirs FindCgroupDirs(const std::string& proc) {
  const std::string mountinfo = SmallFile(absl::StrCat(proc, "/mountinfo"));
  const std::string cgroup = SmallFile(absl::StrCat(proc, "/cgroup"));
  // A controller is in one hierarchy only; where both are mounted, v2 is without it.
  for (const bool v2 : {false, true}) {
    Mount mount;
    std::string path;
    if (!FindMount(mountinfo, v2, &mount) || !FindGroup(cgroup, v2, &path)) continue;
    return {v2, DirsUpTo(mount, path)};
  }
  return {};
}

CgroupMemory ReadCgroupMemory(const CgroupDirs& groups) {
  CgroupMemory memory;
  if (groups.dirs.empty()) return memory;
  const char* limit_file = groups.is_v2 ? "/memory.max" : "/memory.limit_in_bytes";
  const char* used_file = groups.is_v2 ? "/memory.current" : "/memory.usage_in_bytes";
  std::int64_t least_room = std::numeric_limits<std::int64_t>::max();
  for (const std::string& dir : groups.dirs) {
    const std::int64_t limit = LimitIn(SmallFile(absl::StrCat(dir, limit_file)));
    std::int64_t used = 0;
    if (limit == std::numeric_limits<std::int64_t>::max() ||
        !absl::SimpleAtoi(SmallFile(absl::StrCat(dir, used_file)), &used)) {
      continue;
    }
    // Pages of files that nobody has used for a while go before anything is refused.
    used -= std::min(used, NumberAfter(SmallFile(absl::StrCat(dir, "/memory.stat")),
                                       groups.is_v2 ? "inactive_file " : "total_inactive_file ")
                               .value_or(0));
    if (memory.is_limited && limit - used >= least_room) continue;
    least_room = limit - used;
    memory.is_limited = true;
    memory.limit_bytes = limit;
    memory.used_bytes = used;
  }
  const std::string stat = SmallFile(absl::StrCat(groups.dirs[0], "/memory.stat"));
  using Names = std::vector<std::pair<const char*, const char*>>;
  const Names names = groups.is_v2 ? Names{{"anon", "anon "},
                                           {"file", "file "},
                                           {"kernel", "kernel "},
                                           {"sock", "sock "}}
                                   : Names{{"anon", "total_rss "}, {"file", "total_cache "}};
  for (const auto& [kind, key] : names) {
    if (const auto bytes = NumberAfter(stat, key)) memory.by_kind.emplace_back(kind, *bytes);
  }
  if (!groups.is_v2) {
    std::int64_t sock = 0;
    const std::string tcp =
        SmallFile(absl::StrCat(groups.dirs[0], "/memory.kmem.tcp.usage_in_bytes"));
    if (absl::SimpleAtoi(tcp, &sock)) memory.by_kind.emplace_back("sock", sock);
  }
  return memory;
}

}  // namespace heldby::collect
