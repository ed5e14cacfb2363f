#include "symbolize/elf_file.h"

#include <algorithm>
#include <cstring>

namespace heldby::symbolize {
namespace {

constexpr std::size_t kMaxSegments = 128;
constexpr std::size_t kMaxSections = 65536;
constexpr std::size_t kMaxNoteBytes = 1 << 20;

std::uint64_t Align4(std::uint64_t value) { return (value + 3) & ~std::uint64_t{3}; }

}  // namespace

std::optional<ElfFile> ElfFile::Parse(ByteSource bytes) {
  ElfFile file;
  file.bytes_ = bytes;
  const auto header = bytes.Get<Elf64_Ehdr>(0);
  if (!header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 ||
      header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_ident[EI_DATA] != ELFDATA2LSB) {
    return std::nullopt;
  }
  file.header_ = *header;
  if (header->e_phnum > 0 && header->e_phentsize == sizeof(Elf64_Phdr)) {
    const std::size_t count = std::min<std::size_t>(header->e_phnum, kMaxSegments);
    file.segments_.resize(count);
    if (!bytes.Read(header->e_phoff, file.segments_.data(), count * sizeof(Elf64_Phdr))) {
      return std::nullopt;
    }
  }
  file.ReadSections();
  return file;
}

void ElfFile::ReadSections() {
  if (header_.e_shoff == 0 || header_.e_shentsize != sizeof(Elf64_Shdr)) return;
  const auto first = bytes_.Get<Elf64_Shdr>(header_.e_shoff);
  if (!first) return;
  // More than 0xff00 sections: the true count stands in section 0.
  std::uint64_t count = header_.e_shnum != 0 ? header_.e_shnum : first->sh_size;
  count = std::min<std::uint64_t>(count, kMaxSections);
  if (count > (bytes_.size() - header_.e_shoff) / sizeof(Elf64_Shdr)) return;
  sections_.resize(count);
  if (!bytes_.Read(header_.e_shoff, sections_.data(), count * sizeof(Elf64_Shdr))) {
    sections_.clear();
  }
}

const Elf64_Shdr* ElfFile::SectionOfType(std::uint32_t type) const {
  for (const Elf64_Shdr& section : sections_) {
    if (section.sh_type == type && section.sh_offset <= bytes_.size() &&
        section.sh_size <= bytes_.size() - section.sh_offset) {
      return &section;
    }
  }
  return nullptr;
}

const Elf64_Shdr* ElfFile::SectionNamed(const char* name) const {
  std::uint64_t names = header_.e_shstrndx;
  if (names == SHN_XINDEX && !sections_.empty()) names = sections_[0].sh_link;
  if (names >= sections_.size()) return nullptr;
  const Elf64_Shdr& table = sections_[names];
  for (const Elf64_Shdr& section : sections_) {
    if (section.sh_name >= table.sh_size) continue;
    if (bytes_.Text(table.sh_offset + section.sh_name, table.sh_offset + table.sh_size, 64) ==
        name) {
      return &section;
    }
  }
  return nullptr;
}

std::string ElfFile::BuildIdInNotes(std::uint64_t offset, std::uint64_t size_bytes) const {
  if (size_bytes > kMaxNoteBytes || offset > bytes_.size()) return {};
  const std::uint64_t end = offset + size_bytes;
  while (offset < end && end - offset >= sizeof(Elf64_Nhdr)) {
    const auto note = bytes_.Get<Elf64_Nhdr>(offset);
    if (!note) return {};
    const std::uint64_t name = offset + sizeof(Elf64_Nhdr);
    const std::uint64_t payload = name + Align4(note->n_namesz);
    if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 && note->n_descsz > 0 &&
        note->n_descsz <= 64 && bytes_.Text(name, name + 4, 4) == "GNU") {
      unsigned char id[64];
      if (!bytes_.Read(payload, id, note->n_descsz)) return {};
      std::string hex;
      for (std::uint32_t i = 0; i < note->n_descsz; ++i) {
        hex += "0123456789abcdef"[id[i] >> 4];
        hex += "0123456789abcdef"[id[i] & 15];
      }
      return hex;
    }
    offset = payload + Align4(note->n_descsz);
  }
  return {};
}

std::string ElfFile::BuildId(bool loaded) const {
  // In memory, positions count from the first loaded page.
  std::uint64_t first_vaddr = 0;
  for (const Elf64_Phdr& segment : segments_) {
    if (segment.p_type == PT_LOAD) {
      first_vaddr = segment.p_vaddr - segment.p_offset;
      break;
    }
  }
  for (const Elf64_Phdr& segment : segments_) {
    if (segment.p_type != PT_NOTE) continue;
    const std::uint64_t at = loaded ? segment.p_vaddr - first_vaddr : segment.p_offset;
    if (std::string id = BuildIdInNotes(at, segment.p_filesz); !id.empty()) return id;
  }
  if (loaded) return {};
  for (const Elf64_Shdr& section : sections_) {
    if (section.sh_type != SHT_NOTE) continue;
    if (std::string id = BuildIdInNotes(section.sh_offset, section.sh_size); !id.empty()) {
      return id;
    }
  }
  return {};
}

std::optional<std::uint64_t> ElfFile::VaddrOfOffset(std::uint64_t offset) const {
  // The executable segment wins: a page at a segment's edge is mapped twice.
  for (const bool executable : {true, false}) {
    for (const Elf64_Phdr& segment : segments_) {
      if (segment.p_type != PT_LOAD || ((segment.p_flags & PF_X) != 0) != executable) continue;
      if (offset >= segment.p_offset && offset - segment.p_offset < segment.p_filesz) {
        return offset - segment.p_offset + segment.p_vaddr;
      }
    }
  }
  return std::nullopt;
}

std::optional<std::uint64_t> ElfFile::OffsetOfVaddr(std::uint64_t vaddr) const {
  for (const Elf64_Phdr& segment : segments_) {
    if (segment.p_type == PT_LOAD && vaddr >= segment.p_vaddr &&
        vaddr - segment.p_vaddr < segment.p_filesz) {
      return vaddr - segment.p_vaddr + segment.p_offset;
    }
  }
  return std::nullopt;
}

std::string ElfFile::Fingerprint() const {
  std::string print(reinterpret_cast<const char*>(&header_), sizeof(header_));
  print.append(reinterpret_cast<const char*>(segments_.data()),
               segments_.size() * sizeof(Elf64_Phdr));
  return print;
}

}  // namespace heldby::symbolize
