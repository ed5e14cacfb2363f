#include "core/stack/module.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>

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
// object that took the place of another is not mistaken for it, however it came there, and
// nobody has to watch dlclose. (One without a build id may be: IsCertain.)
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

// What is looked at, in place or a copy: the first page, where linkers put headers and notes,
// and the beginning of .eh_frame_hdr, which lists where functions are.
struct FirstPage {
  const std::uint8_t* bytes;
  std::uint64_t size;  // 0: the module is smaller than a page
  const std::uint8_t* table;
  std::uint64_t table_size;

  bool Has(std::uint64_t offset, std::uint64_t length) const {
    return offset <= size && length <= size - offset;
  }
};

std::uint64_t FirstPageBytes(const Module& module) {
  return module.end - module.begin >= static_cast<std::ptrdiff_t>(kPage) ? kPage : 0;
}

bool IsBuildId(const Note& note) {
  return note.header.n_type == NT_GNU_BUILD_ID && note.header.n_namesz == sizeof(note.name) &&
         __builtin_memcmp(note.name, "GNU", sizeof(note.name)) == 0 &&
         note.header.n_descsz >= sizeof(note.id[0]);
}

std::uint64_t FindNote(const FirstPage& page) {
  Elf64_Ehdr elf;
  if (!page.Has(0, kPage)) return 0;
  __builtin_memcpy(&elf, page.bytes, sizeof(elf));
  if (__builtin_memcmp(elf.e_ident, ELFMAG, SELFMAG) != 0 || elf.e_phoff > kPage ||
      elf.e_phentsize != sizeof(Elf64_Phdr) ||
      elf.e_phnum > (kPage - elf.e_phoff) / sizeof(Elf64_Phdr)) {
    return 0;
  }
  std::uint64_t base = 0;
  bool base_known = false;
  for (unsigned i = 0; i < elf.e_phnum; ++i) {
    Elf64_Phdr header;
    __builtin_memcpy(&header, page.bytes + elf.e_phoff + i * sizeof(header), sizeof(header));
    if (header.p_type == PT_LOAD && !base_known) {
      base = header.p_vaddr & ~(kPage - 1);
      base_known = true;
    }
    if (header.p_type != PT_NOTE || !base_known) continue;
    std::uint64_t at = header.p_vaddr - base;
    const std::uint64_t end = at + header.p_memsz;
    while (at < end && at % 4 == 0 && at <= kPage - sizeof(Note)) {
      Note note;
      __builtin_memcpy(&note, page.bytes + at, sizeof(note));
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

// Behind the program headers, where a build id would be, and the places of the first functions.
std::uint64_t HashWithoutBuildId(const FirstPage& page, std::uint64_t hash) {
  const auto mix = [&hash](const std::uint8_t* bytes, std::uint64_t size) {
    for (std::uint64_t at = 0; at + 8 <= size; at += 8) {
      std::uint64_t word;
      __builtin_memcpy(&word, bytes + at, sizeof(word));
      hash = Mix(hash, word);
    }
  };
  if (page.Has(0x200, 0x200)) mix(page.bytes + 0x200, 0x200);
  mix(page.table, page.table_size);
  return hash;
}

std::uint64_t HashOf(const FirstPage& page, std::uintptr_t where) {
  std::atomic<std::uint64_t>& place = places[where * kFactor >> 58];
  const std::uint64_t remembered = place.load(std::memory_order_relaxed);
  std::uint64_t at = remembered >> 16 == where ? (remembered & 0xffff) * 4 : 0;
  Note note;
  const auto read = [&] {
    if (at == 0 || !page.Has(at, sizeof(note))) return false;
    __builtin_memcpy(&note, page.bytes + at, sizeof(note));
    return IsBuildId(note);
  };
  if (!read()) {
    at = FindNote(page);
    if (!read()) return (HashWithoutBuildId(page, where) & ~std::uint64_t{1}) | 2;  // uncertain
    place.store(where << 16 | at / 4, std::memory_order_relaxed);
  }
  if (note.header.n_descsz < sizeof(note.id)) note.id[1] = 0;
  return Mix(Mix(where * kFactor, note.id[0]), note.id[1]) | 1;
}

std::uintptr_t PlaceOf(const Module& module) {
  return reinterpret_cast<std::uintptr_t>(module.eh_frame_hdr);
}

constexpr std::ptrdiff_t kTableBytes = 512;

// Not beyond the table's page, behind which there may be a hole of the library, nor beyond its
// end.
FirstPage FirstPageOf(const Module& module) {
  const auto of_page = static_cast<std::ptrdiff_t>(
      kPage - reinterpret_cast<std::uintptr_t>(module.eh_frame_hdr) % kPage);
  const std::ptrdiff_t of_module = module.end - module.eh_frame_hdr;
  const std::ptrdiff_t left = of_page < of_module ? of_page : of_module;
  return {module.begin, FirstPageBytes(module), module.eh_frame_hdr,
          static_cast<std::uint64_t>(left < kTableBytes ? left : kTableBytes)};
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
  return HashOf(FirstPageOf(module), PlaceOf(module));
}

std::uint64_t HashOfOther(const Module& module) {
  std::uint8_t copy[kPage + kTableBytes];
  FirstPage page = FirstPageOf(module);
  const int kept = errno;
  const iovec local = {copy, page.size + page.table_size};
  const iovec remote[] = {{const_cast<std::uint8_t*>(page.bytes), page.size},
                          {const_cast<std::uint8_t*>(page.table), page.table_size}};
  const ssize_t got = process_vm_readv(gettid(), &local, 1, remote, 2, 0);
  errno = kept;
  if (got != static_cast<ssize_t>(local.iov_len)) return 0;
  page.bytes = copy;
  page.table = copy + page.size;
  return HashOf(page, PlaceOf(module));
}

bool DescribeModuleAt(std::uintptr_t pc, ModuleRange* range) {
  Module module;
  if (!FindModule(pc, &module)) return false;
  const std::uint64_t hash = HashOfOther(module);
  if (hash == 0) return false;
  *range = {.begin = reinterpret_cast<std::uintptr_t>(module.begin),
            .end = reinterpret_cast<std::uintptr_t>(module.end),
            .tag = ModuleTag(hash)};
  return true;
}

}  // namespace heldby::core
