#include "symbolize/modules.h"

#include <sys/stat.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <string_view>
#include <utility>

#include "symbolize/elf_file.h"

namespace heldby::symbolize {
namespace {

constexpr std::size_t kMaxSegments = 4096;
constexpr std::string_view kDeleted = " (deleted)";
constexpr std::string_view kVdso = "[vdso]";

std::uint64_t InodeOf(const char* path) {
  struct stat status {};
  return stat(path, &status) == 0 ? status.st_ino : 0;
}

bool IsSameFile(const UniqueFd& file, const Module& module) {
  if (!file.valid()) return false;
  const auto elf = ElfFile::Parse(ByteSource::File(file.get()));
  if (!elf) return false;
  if (!module.build_id.empty()) return elf->BuildId() == module.build_id;
  return !module.fingerprint.empty() && elf->Fingerprint() == module.fingerprint;
}

}  // namespace

struct ModuleMap::Line {
  std::uint64_t start = 0, limit = 0, file_offset = 0, inode = 0;
  bool executable = false;
  std::string path;
};

bool ModuleMap::ParseLine(const std::string& text, Line* line) {
  char permissions[8] = {};
  int path_at = 0;
  if (std::sscanf(text.c_str(), "%" SCNx64 "-%" SCNx64 " %7s %" SCNx64 " %*s %" SCNu64 " %n",
                  &line->start, &line->limit, permissions, &line->file_offset, &line->inode,
                  &path_at) != 5 ||
      path_at <= 0) {
    return false;
  }
  line->executable = permissions[2] == 'x';
  line->path = text.substr(static_cast<std::size_t>(path_at));
  if (line->path.ends_with(kDeleted)) {
    line->path.resize(line->path.size() - kDeleted.size());
  }
  return !line->path.empty() && (line->inode != 0 || line->path == kVdso);
}

std::shared_ptr<const Module> ModuleMap::ModuleOf(const Line& line,
                                                  std::uint64_t header_address,
                                                  std::uint64_t header_limit) {
  Module module;
  module.path = line.path;
  module.inode = line.inode;
  module.is_vdso = line.path == kVdso;
  module.is_main = line.inode != 0 && line.inode == main_inode_ &&
                   (main_ == nullptr || main_->path == line.path);
  if (header_limit > header_address) {
    const auto loaded =
        ElfFile::Parse(ByteSource::Memory(header_address, header_limit - header_address));
    if (loaded) {
      module.build_id = loaded->BuildId(/*loaded=*/true);
      module.fingerprint = loaded->Fingerprint();
    }
  }
  // Segments of one file share one Module.
  for (const Segment& known : segments_) {
    const Module& other = *known.module;
    if (other.path == module.path && other.inode == module.inode &&
        other.build_id == module.build_id && other.fingerprint == module.fingerprint) {
      return known.module;
    }
  }
  module.id = next_id_++;
  auto made = std::make_shared<const Module>(std::move(module));
  if (made->is_main && main_ == nullptr) main_ = made;
  return made;
}

void ModuleMap::Refresh() {
  // /proc/self is the first thread's, and tells nothing once that one has ended.
  // On some overlay file systems maps and stat disagree on inodes; the path then decides.
  if (main_inode_ == 0) main_inode_ = InodeOf("/proc/thread-self/exe");
  std::vector<Segment> live;
  Line first;  // the line that starts the file, where its headers are
  std::ifstream maps("/proc/thread-self/maps");
  for (std::string text; std::getline(maps, text);) {
    Line line;
    if (!ParseLine(text, &line)) continue;
    if (line.file_offset == 0) first = line;
    if (!line.executable) continue;

    const Segment* known = Find(line.start);
    if (known != nullptr && known->start == line.start && known->limit == line.limit &&
        known->file_offset == line.file_offset && known->module->path == line.path &&
        known->module->inode == line.inode) {
      live.push_back(*known);
      continue;
    }
    const bool has_header = first.path == line.path && first.inode == line.inode;
    auto module = !live.empty() && live.back().module->path == line.path &&
                          live.back().module->inode == line.inode && has_header &&
                          first.start < live.back().start
                      ? live.back().module
                      : ModuleOf(line, first.start, has_header ? first.limit : 0);
    live.push_back({line.start, line.limit, line.file_offset, std::move(module)});
  }
  if (!live.empty()) Remember(std::move(live));
}

void ModuleMap::Remember(std::vector<Segment> live) {
  const std::size_t live_count = live.size();
  for (Segment& old : segments_) {
    if (live.size() >= kMaxSegments) break;
    // `live` ascends up to live_count: the first one ending after old.start may overlap it.
    const auto end = live.begin() + static_cast<std::ptrdiff_t>(live_count);
    const auto next =
        std::upper_bound(live.begin(), end, old.start,
                         [](std::uint64_t at, const Segment& s) { return at < s.limit; });
    if (next == end || next->start >= old.limit) live.push_back(std::move(old));
  }
  std::sort(live.begin(), live.end(),
            [](const Segment& a, const Segment& b) { return a.start < b.start; });
  segments_ = std::move(live);
}

const Segment* ModuleMap::Find(std::uint64_t address) const {
  const auto next =
      std::upper_bound(segments_.begin(), segments_.end(), address,
                       [](std::uint64_t at, const Segment& s) { return at < s.limit; });
  return next != segments_.end() && next->Contains(address) ? &*next : nullptr;
}

const Segment* ModuleMap::main() const {
  for (const Segment& segment : segments_) {
    if (segment.module->is_main) return &segment;
  }
  return segments_.empty() ? nullptr : &segments_.front();
}

UniqueFd OpenModule(const Segment& segment) {
  const Module& module = *segment.module;
  UniqueFd file = UniqueFd::OpenFile(module.path);
  if (IsSameFile(file, module)) return file;
  // Deleted or replaced: the kernel still has the mapped one, for those it lets near.
  char mapped[64];
  std::snprintf(mapped, sizeof(mapped), "/proc/self/map_files/%" PRIx64 "-%" PRIx64,
                segment.start, segment.limit);
  file = UniqueFd::OpenFile(mapped);
  if (IsSameFile(file, module)) return file;
  if (module.is_main) {
    file = UniqueFd::OpenFile("/proc/thread-self/exe");
    if (IsSameFile(file, module)) return file;
  }
  return {};
}

}  // namespace heldby::symbolize
