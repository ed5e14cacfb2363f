#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "symbolize/debug_files.h"
#include "symbolize/elf_file.h"
#include "symbolize/elf_symbols.h"
#include "symbolize/helper_process.h"
#include "symbolize/wire.h"

namespace heldby::symbolize {
namespace {

std::string Contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

UniqueFd InMemory(const std::string& bytes) {
  UniqueFd fd(memfd_create("subject", MFD_CLOEXEC));
  EXPECT_EQ(write(fd.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  return fd;
}

void ReadEverything(const UniqueFd& fd) {
  const auto file = ElfFile::Parse(ByteSource::File(fd.get()));
  if (!file) return;
  std::vector<std::uint64_t> addresses;
  for (std::uint64_t at = 0x1000; at < 0x2000; at += 16) addresses.push_back(at);
  for (const std::uint32_t table : {SHT_SYMTAB, SHT_DYNSYM}) {
    EXPECT_EQ(FindSymbols(*file, table, addresses).size(), addresses.size());
  }
  EXPECT_EQ(FindFunctionStarts(*file, addresses).size(), addresses.size());
  static_cast<void>(file->BuildId());
  static_cast<void>(OpenDebugFile(*file, "/nowhere/subject.so"));
}

TEST(ElfSymbols, TheTableOfFunctionsAgreesWithTheSymbolsOfThisWholeBinary) {
  const UniqueFd fd = UniqueFd::OpenFile("/proc/self/exe");
  const auto file = ElfFile::Parse(ByteSource::File(fd.get()));
  ASSERT_TRUE(file);
  const auto text = std::ranges::find_if(file->segments(), [](const Elf64_Phdr& segment) {
    return segment.p_type == PT_LOAD && (segment.p_flags & PF_X) != 0;
  });
  ASSERT_NE(text, file->segments().end());
  std::vector<std::uint64_t> addresses;
  for (std::uint64_t at = 0; at < text->p_memsz; at += 64) {
    addresses.push_back(text->p_vaddr + at);
  }
  const std::vector<Symbol> symbols = FindSymbols(*file, SHT_SYMTAB, addresses);
  const std::vector<std::uint64_t> starts = FindFunctionStarts(*file, addresses);
  std::vector<std::uint64_t> distinct;
  std::size_t compared = 0, equal = 0;
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    if (symbols[i].name.empty()) continue;
    ++compared;
    equal += symbols[i].start == starts[i] ? 1 : 0;
    if (distinct.empty() || distinct.back() != starts[i]) distinct.push_back(starts[i]);
  }
  EXPECT_GT(distinct.size(), 512u) << "more than one block of the table";
  EXPECT_GT(equal * 100, compared * 99) << equal << " of " << compared;
  // Backwards, one at a time: whatever block was read before does not matter.
  for (std::size_t i = addresses.size(); i-- > 0;) {
    if (i % 37 != 0) continue;
    EXPECT_EQ(FindFunctionStarts(*file, {&addresses[i], 1})[0], starts[i]) << i;
  }
}

TEST(ElfFile, TruncatedAtAnyLengthIsReadWithoutHarm) {
  const std::string whole = Contents(HELDBY_PLUGINS "/linked.so");
  ASSERT_GT(whole.size(), 1000u);
  for (std::size_t size = 0; size < whole.size(); size += size < 512 ? 1 : 97) {
    ReadEverything(InMemory(whole.substr(0, size)));
  }
}

TEST(ElfFile, HostileBytesAnywhereAreReadWithoutHarm) {
  const std::string whole = Contents(HELDBY_PLUGINS "/no_build_id.so");
  std::mt19937_64 random(20261122);
  for (int round = 0; round < 2000; ++round) {
    std::string bytes = whole;
    for (int i = 0; i < 8; ++i) {
      // Half of them in the headers, where a byte does most.
      const std::size_t size = i % 2 == 0 ? 1024 : bytes.size();
      bytes[random() % size] = static_cast<char>(random());
    }
    const std::size_t tables = whole.size() - 64 * 30;
    bytes[tables + random() % (64 * 30)] = static_cast<char>(random());
    ReadEverything(InMemory(bytes));
  }
}

TEST(Helper, HostileDwarfCostsTheHelperNotTheHost) {
  const std::string whole = Contents(HELDBY_PLUGINS "/gcc5.so");
  std::mt19937_64 random(20261122);
  std::vector<char> answer(1 << 20);
  for (int round = 0; round < 40; ++round) {
    std::string bytes = whole;
    for (int i = 0; i < 200; ++i) {
      bytes[0x2000 + random() % (bytes.size() - 0x2000)] = static_cast<char>(random());
    }
    const UniqueFd file = InMemory(bytes);
    const int fd = file.get();
    const WireModule module{fd, -1, {0x1100, 0x1110, 0x1150, 0x1180}};
    std::size_t answered = 0;
    const HelperEnd end = RunHelper(HELDBY_SYMBOLIZER, EncodeRequest({&module, 1}), {&fd, 1},
                                    2000, answer, &answered);
    EXPECT_LE(answered, answer.size());
    if (end == HelperEnd::kExited) {
      EXPECT_TRUE(DecodeAnswer({answer.data(), answered}, [](auto, auto, Frames) {}));
    }
  }
}

}  // namespace
}  // namespace heldby::symbolize
