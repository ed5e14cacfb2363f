#include "symbolize/names.h"

#include <cinttypes>
#include <cstdio>
#include <optional>
#include <string>
#include <utility>

#include "symbolize/debug_files.h"
#include "symbolize/demangle.h"
#include "symbolize/elf_symbols.h"

namespace heldby::symbolize {
namespace {

std::string BaseName(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

bool HasDwarf(const ElfFile& file) {
  for (const char* name : {".debug_info", ".zdebug_info"}) {
    const Elf64_Shdr* section = file.SectionNamed(name);
    if (section != nullptr && section->sh_type != SHT_NOBITS) return true;
  }
  return false;
}

void TakeNames(const ElfFile& file, std::uint32_t table, NamedModule* module) {
  std::vector<std::uint64_t> open;
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < module->vaddrs.size(); ++i) {
    if (module->vaddrs[i] == 0 || !module->frames[i].system_name.empty()) continue;
    open.push_back(module->vaddrs[i]);
    places.push_back(i);
  }
  if (open.empty()) return;
  std::vector<Symbol> symbols = FindSymbols(file, table, open);
  for (std::size_t i = 0; i < symbols.size(); ++i) {
    if (symbols[i].name.empty()) continue;
    Frame& frame = module->frames[places[i]];
    const bool repeated = i > 0 && symbols[i].name == symbols[i - 1].name;
    frame.name = repeated ? module->frames[places[i - 1]].name : Demangle(symbols[i].name);
    // Cutting a mangled name would leave something no tool can demangle.
    frame.system_name =
        symbols[i].name.size() <= 4 * kMaxNameBytes ? std::move(symbols[i].name) : frame.name;
  }
}

void NameByPlace(const Segment& segment, const std::optional<ElfFile>& file,
                 std::span<const std::uint64_t> offsets, NamedModule* module) {
  std::vector<std::uint64_t> starts(offsets.size());
  if (file) starts = FindFunctionStarts(*file, module->vaddrs);
  for (std::size_t i = 0; i < offsets.size(); ++i) {
    if (!module->frames[i].name.empty()) continue;
    const std::uint64_t place = starts[i] != 0           ? starts[i]
                                : module->vaddrs[i] != 0 ? module->vaddrs[i]
                                                         : offsets[i];
    char text[32];
    std::snprintf(text, sizeof(text), "+0x%" PRIx64, place);
    module->frames[i].name = CapName(BaseName(segment.module->path)) + text;
  }
}

}  // namespace

NamedModule NameOffsets(const Segment& segment, std::span<const std::uint64_t> offsets) {
  NamedModule module;
  module.frames.resize(offsets.size());
  module.vaddrs.resize(offsets.size());
  std::optional<ElfFile> file;
  if (segment.module->is_vdso) {
    file = ElfFile::Parse(ByteSource::Memory(segment.start, segment.limit - segment.start));
  } else {
    module.file = OpenModule(segment);
    if (module.file.valid()) file = ElfFile::Parse(ByteSource::File(module.file.get()));
  }
  if (file) {
    for (std::size_t i = 0; i < offsets.size(); ++i) {
      module.vaddrs[i] = file->VaddrOfOffset(offsets[i]).value_or(0);
    }
    TakeNames(*file, SHT_SYMTAB, &module);
    module.has_dwarf = HasDwarf(*file);
    if (!module.has_dwarf && !segment.module->is_vdso) {
      module.debug_file = OpenDebugFile(*file, segment.module->path);
      const auto debug = ElfFile::Parse(ByteSource::File(module.debug_file.get()));
      if (debug) {
        TakeNames(*debug, SHT_SYMTAB, &module);
        module.has_dwarf = HasDwarf(*debug);
      }
    }
    TakeNames(*file, SHT_DYNSYM, &module);
  }
  NameByPlace(segment, file, offsets, &module);
  return module;
}

}  // namespace heldby::symbolize
