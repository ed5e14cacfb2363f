#include "core/stack/module.h"

#include <dlfcn.h>
#include <elf.h>

#include <atomic>
#include <cstddef>

#include "core/stack/capture.h"

namespace heldby::core {
namespace {

constexpr std::uint64_t kFactor = 0x9e3779b97f4a7c15u;
constexpr std::size_t kPage = 4096;

// Every capture asks for the identity of each module it passes, so it may cost a few
// nanoseconds. Where in the module the build id lies is remembered, not the build id: the bytes
// are read anew each time, and with them the note's header, which must still be there. So an
// object that took the place of another is never mistaken for it, however it came there, and
// nobody has to watch dlclose.
//
// A word: address of .eh_frame_hdr << 16 | offset of the note / 4. One word, so that no reader
// sees half of it.
constexpr std::size_t kPlaces = 64;
constinit std::atomic<std::uint64_t> places[kPlaces] = {};

struct Note {
  Elf64_Nhdr header;
  char name[4];
  std::uint64_t id[2];  // a SHA-1 has 20 bytes, a "fast" build id of lld's 8
};

bool Readable(const Module& module, std::uint64_t offset, std::uint64_t size) {
  const auto span = static_cast<std::uint64_t>(module.end - module.begin);
  return offset <= span && size <= span - offset;
}

bool IsBuildId(const Note& note) {
  return note.header.n_type == NT_GNU_BUILD_ID && note.header.n_namesz == sizeof(note.name) &&
         __builtin_memcmp(note.name, "GNU", sizeof(note.name)) == 0 &&
         note.header.n_descsz >= sizeof(note.id[0]);
}

// Only what lies in the first page, where linkers put it, and which holds the ELF header, so it
// is mapped and readable.
std::uint64_t FindNote(const Module& module) {
  Elf64_Ehdr elf;
  if (!Readable(module, 0, kPage)) return 0;
  __builtin_memcpy(&elf, module.begin, sizeof(elf));
  if (__builtin_memcmp(elf.e_ident, ELFMAG, SELFMAG) != 0 || elf.e_phoff > kPage ||
      elf.e_phentsize != sizeof(Elf64_Phdr) ||
      elf.e_phnum > (kPage - elf.e_phoff) / sizeof(Elf64_Phdr)) {
    return 0;
  }
  std::uint64_t base = 0;
  bool base_known = false;
  for (unsigned i = 0; i < elf.e_phnum; ++i) {
    Elf64_Phdr header;
    __builtin_memcpy(&header, module.begin + elf.e_phoff + i * sizeof(header), sizeof(header));
    if (header.p_type == PT_LOAD && !base_known) {
      base = header.p_vaddr & ~(kPage - 1);
      base_known = true;
    }
    if (header.p_type != PT_NOTE || !base_known) continue;
    std::uint64_t at = header.p_vaddr - base;
    const std::uint64_t end = at + header.p_memsz;
    while (at < end && at % 4 == 0 && at <= kPage - sizeof(Note)) {
      Note note;
      __builtin_memcpy(&note, module.begin + at, sizeof(note));
      if (IsBuildId(note)) return at;
      const auto padded = [](std::uint64_t size) { return (size + 3) & ~std::uint64_t{3}; };
      at += sizeof(note.header) + padded(note.header.n_namesz) + padded(note.header.n_descsz);
    }
  }
  return 0;
}

std::uint64_t Mix(std::uint64_t hash, std::uint64_t word) {
  // The low bits of a product depend on low bits only: fold the high ones back in.
  hash = (hash ^ word) * kFactor;
  return hash ^ (hash >> 32);
}

// Behind the program headers, where a build id would be.
std::uint64_t HashWithoutBuildId(const Module& module, std::uint64_t hash) {
  constexpr std::ptrdiff_t kBegin = 0x200;
  constexpr std::ptrdiff_t kEnd = 0x400;
  if (!Readable(module, 0, kEnd)) return hash;
  for (std::ptrdiff_t at = kBegin; at < kEnd; at += 8) {
    std::uint64_t word;
    __builtin_memcpy(&word, module.begin + at, sizeof(word));
    hash = Mix(hash, word);
  }
  return hash;
}

}  // namespace

bool FindModule(std::uintptr_t pc, Module* module) {
  dl_find_object found;
  if (_dl_find_object(reinterpret_cast<void*>(pc), &found) != 0 ||
      found.dlfo_eh_frame == nullptr) {
    return false;
  }
  module->begin = static_cast<const std::uint8_t*>(found.dlfo_map_start);
  module->end = static_cast<const std::uint8_t*>(found.dlfo_map_end);
  module->eh_frame_hdr = static_cast<const std::uint8_t*>(found.dlfo_eh_frame);
  return module->eh_frame_hdr >= module->begin && module->eh_frame_hdr < module->end;
}

std::uint64_t Hash(const Module& module) {
  const auto where = reinterpret_cast<std::uintptr_t>(module.eh_frame_hdr);
  std::atomic<std::uint64_t>& place = places[where * kFactor >> 58];
  const std::uint64_t remembered = place.load(std::memory_order_relaxed);
  std::uint64_t at = remembered >> 16 == where ? (remembered & 0xffff) * 4 : 0;
  Note note;
  const auto read = [&] {
    if (at == 0 || !Readable(module, at, sizeof(note))) return false;
    __builtin_memcpy(&note, module.begin + at, sizeof(note));
    return IsBuildId(note);
  };
  if (!read()) {
    at = FindNote(module);
    if (!read()) return HashWithoutBuildId(module, where) | 1;
    place.store(where << 16 | at / 4, std::memory_order_relaxed);
  }
  if (note.header.n_descsz < sizeof(note.id)) note.id[1] = 0;
  return Mix(Mix(where * kFactor, note.id[0]), note.id[1]) | 1;
}

std::uint16_t ModuleTagAt(std::uintptr_t pc) {
  Module module;
  return FindModule(pc, &module) ? ModuleTag(Hash(module)) : std::uint16_t{0};
}

}  // namespace heldby::core
