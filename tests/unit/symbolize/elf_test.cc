#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

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
