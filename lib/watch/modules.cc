#include "watch/modules.h"

#include <elf.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

namespace heldby::watch {
namespace {

bool ReadMemory(std::uint64_t address, void* to, std::size_t bytes) {
  const iovec local = {to, bytes};
  const iovec remote = {reinterpret_cast<void*>(address), bytes};
  return process_vm_readv(gettid(), &local, 1, &remote, 1, 0) == static_cast<ssize_t>(bytes);
}

bool TakeHex(std::string_view* text, std::uint64_t* value) {
  const auto [end, error] =
      std::from_chars(text->data(), text->data() + text->size(), *value, 16);
  if (error != std::errc()) return false;
  text->remove_prefix(static_cast<std::size_t>(end - text->data()));
  return true;
}

std::string_view TakeWord(std::string_view* text) {
  text->remove_prefix(std::min(text->find_first_not_of(' '), text->size()));
  const std::string_view word = text->substr(0, text->find(' '));
  text->remove_prefix(word.size());
  return word;
}

// The note of kind NT_GNU_BUILD_ID in `bytes`.
void FindBuildId(const char* bytes, std::size_t size, CodeModule* module) {
  const auto aligned = [](std::size_t n) { return (n + 3) / 4 * 4; };
  for (std::size_t at = 0; at + sizeof(Elf64_Nhdr) <= size;) {
    Elf64_Nhdr note;
    memcpy(&note, bytes + at, sizeof(note));
    at += sizeof(note);
    const std::size_t name_bytes = aligned(note.n_namesz);
    const std::size_t text_bytes = aligned(note.n_descsz);
    if (name_bytes > size - at || text_bytes > size - at - name_bytes) return;
    if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 &&
        memcmp(bytes + at, "GNU", 4) == 0) {
      module->build_id_bytes = static_cast<std::uint8_t>(
          std::min<std::size_t>(note.n_descsz, sizeof(module->build_id)));
      memcpy(module->build_id, bytes + at + name_bytes, module->build_id_bytes);
      return;
    }
    at += name_bytes + text_bytes;
  }
}

void ReadBuildId(std::uint64_t header_address, CodeModule* module) {
  Elf64_Ehdr header;
  constexpr int kMostSegments = 32;
  if (!ReadMemory(header_address, &header, sizeof(header)) ||
      memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_phnum > 128) {
    return;
  }
  // By what the first loaded segment says the file is moved as a whole.
  std::uint64_t base = header_address;
  bool has_base = false;
  for (int i = 0; i < std::min<int>(header.e_phnum, kMostSegments); ++i) {
    Elf64_Phdr segment;
    if (!ReadMemory(
            header_address + header.e_phoff + sizeof(segment) * static_cast<unsigned>(i),
            &segment, sizeof(segment))) {
      return;
    }
    if (segment.p_type == PT_LOAD && !has_base) {
      base = header_address - (segment.p_vaddr - segment.p_offset);
      has_base = true;
    }
    char notes[1024];
    if (segment.p_type != PT_NOTE || segment.p_memsz > sizeof(notes) ||
        !ReadMemory(base + segment.p_vaddr, notes, segment.p_memsz)) {
      continue;
    }
    FindBuildId(notes, segment.p_memsz, module);
    if (module->build_id_bytes != 0) return;
  }
}

}  // namespace

struct CodeModules::Line {
  std::uint64_t start = 0;
  std::uint64_t limit = 0;
  std::uint64_t file_offset = 0;
  std::uint64_t inode = 0;
  std::string_view path;
};

void CodeModules::Refresh(const core::CoreApi& core, int maps_fd, std::span<char> buffer) {
  if (maps_fd < 0) return;
  count_ = 0;
  paths_used_ = 0;
  dropped_ = 0;
  header_address_ = 0;
  std::size_t used = 0;
  off_t offset = 0;
  while (true) {
    const ssize_t got = pread(maps_fd, buffer.data() + used, buffer.size() - used, offset);
    if (got <= 0) break;
    offset += got;
    used += static_cast<std::size_t>(got);
    std::size_t at = 0;
    for (const char* end; (end = static_cast<const char*>(
                               memchr(buffer.data() + at, '\n', used - at))) != nullptr;) {
      const auto size = static_cast<std::size_t>(end - (buffer.data() + at));
      Take(core, {buffer.data() + at, size});
      at += size + 1;
    }
    // A line longer than the buffer is none that could be kept.
    if (at == 0 && used == buffer.size()) at = used;
    memmove(buffer.data(), buffer.data() + at, used - at);
    used -= at;
  }
}

// "55d0-55d8 r-xp 00002000 08:01 1234  /usr/bin/app"
void CodeModules::Take(const core::CoreApi& core, std::string_view text) {
  Line line;
  if (!TakeHex(&text, &line.start) || !text.starts_with('-')) return;
  text.remove_prefix(1);
  if (!TakeHex(&text, &line.limit)) return;
  const std::string_view permissions = TakeWord(&text);
  std::string_view offset = TakeWord(&text);
  TakeWord(&text);  // device
  const std::string_view inode = TakeWord(&text);
  if (permissions.size() < 3 || !TakeHex(&offset, &line.file_offset)) return;
  std::from_chars(inode.data(), inode.data() + inode.size(), line.inode);
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  line.path = text;
  if (line.file_offset == 0) {
    header_address_ = line.start;
    header_inode_ = line.inode;
  }
  if (permissions[2] == 'x' && !line.path.empty()) Add(core, line);
}

void CodeModules::Add(const core::CoreApi& core, const Line& line) {
  if (count_ == kMostModules || line.path.size() > kPathBytes - paths_used_) {
    ++dropped_;
    return;
  }
  constexpr std::string_view kDeleted = " (deleted)";
  std::string_view path = line.path;
  if (path.ends_with(kDeleted)) path.remove_suffix(kDeleted.size());
  CodeModule& module = modules_[count_++];
  module = {.start = line.start,
            .limit = line.limit,
            .file_offset = line.file_offset,
            .path_at = static_cast<std::uint32_t>(paths_used_),
            .path_bytes = static_cast<std::uint16_t>(path.size())};
  memcpy(paths_ + paths_used_, path.data(), path.size());
  paths_used_ += path.size();
  if (line.inode != 0 && line.inode == header_inode_) ReadBuildId(header_address_, &module);
  core::ModuleRange range{};
  if (core.describe_module_at(line.start, &range)) module.tag = range.tag;
}

const CodeModule* CodeModules::Find(std::uint64_t address) const {
  // The kernel lists them in order.
  const auto* after = std::upper_bound(
      modules_, modules_ + count_, address,
      [](std::uint64_t wanted, const CodeModule& module) { return wanted < module.start; });
  if (after == modules_) return nullptr;
  --after;
  return address < after->limit ? after : nullptr;
}

std::string_view CodeModules::FileOf(const CodeModule& module) const {
  const std::string_view path = PathOf(module);
  return path.substr(path.rfind('/') + 1);
}

}  // namespace heldby::watch
