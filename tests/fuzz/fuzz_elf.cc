// The reader of ELF files, on a file that may say anything: build id, sections, symbols and
// function starts. Nothing outside the file is read, and the work is in proportion to it.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "symbolize/debug_files.h"
#include "symbolize/elf_file.h"
#include "symbolize/elf_symbols.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace heldby::symbolize;  // NOLINT: a fuzz target is one function
  static const int fd = ::memfd_create("elf", MFD_CLOEXEC);
  if (::ftruncate(fd, 0) != 0) return 0;
  if (::pwrite(fd, data, size, 0) != static_cast<ssize_t>(size)) return 0;
  const auto file = ElfFile::Parse(ByteSource::File(fd));
  if (!file) return 0;
  if (file->BuildId().size() > 128 || file->BuildId(/*loaded=*/true).size() > 128) std::abort();
  (void)file->Fingerprint();
  (void)OpenDebugFile(*file, "/nonexistent/file", "/nonexistent");
  std::vector<std::uint64_t> addresses;
  for (std::uint64_t at = 0; at < 0x3000; at += 0x40) addresses.push_back(at);
  for (const Elf64_Phdr& segment : file->segments()) {
    addresses.push_back(segment.p_vaddr);
    if (const auto offset = file->OffsetOfVaddr(segment.p_vaddr)) {
      (void)file->VaddrOfOffset(*offset);
    }
  }
  std::sort(addresses.begin(), addresses.end());
  for (const std::uint32_t table : {SHT_SYMTAB, SHT_DYNSYM}) {
    const auto symbols = FindSymbols(*file, table, addresses);
    if (symbols.size() != addresses.size()) std::abort();
    for (std::size_t i = 0; i < symbols.size(); ++i) {
      if (symbols[i].start > addresses[i]) std::abort();
    }
  }
  const auto starts = FindFunctionStarts(*file, addresses);
  if (starts.size() != addresses.size()) std::abort();
  return 0;
}
