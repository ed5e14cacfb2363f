// symbolize/elf_file.h - the parts of an ELF file that naming needs; nothing in it is believed.
//
// Threads  one at a time.
// Signals  unsafe: allocates.
// Units    "offset" is a position in the file, "vaddr" an address as linked, both in bytes.
// Bounds   at most 128 segments and 65536 sections are looked at, whatever the counts say.
// Source   System V ABI, 64-bit little-endian only; anything else does not open.
#pragma once

#include <elf.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "symbolize/byte_source.h"

namespace heldby::symbolize {

class ElfFile {
 public:
  /// Empty if there is no usable ELF header and program header table at the start.
  static std::optional<ElfFile> Parse(ByteSource bytes);

  const ByteSource& bytes() const { return bytes_; }
  const std::vector<Elf64_Phdr>& segments() const { return segments_; }

  /// Empty when the file has none or they are unreadable.
  const std::vector<Elf64_Shdr>& sections() const { return sections_; }

  /// The first section of this type with readable extent.
  const Elf64_Shdr* SectionOfType(std::uint32_t type) const;
  const Elf64_Shdr* SectionNamed(const char* name) const;

  /// Lower-case hex of the GNU build-id note; empty if there is none. `loaded`: the bytes are
  /// memory, where notes are found by vaddr instead of by offset.
  std::string BuildId(bool loaded = false) const;

  /// The linked address of what stands at `offset` in the file.
  std::optional<std::uint64_t> VaddrOfOffset(std::uint64_t offset) const;
  /// The reverse.
  std::optional<std::uint64_t> OffsetOfVaddr(std::uint64_t vaddr) const;

  /// Header and program headers as they stand in the file: two different links of a program
  /// practically never agree in them.
  std::string Fingerprint() const;

 private:
  void ReadSections();
  std::string BuildIdInNotes(std::uint64_t offset, std::uint64_t size_bytes) const;

  ByteSource bytes_;
  Elf64_Ehdr header_{};
  std::vector<Elf64_Phdr> segments_;
  std::vector<Elf64_Shdr> sections_;
};

}  // namespace heldby::symbolize
