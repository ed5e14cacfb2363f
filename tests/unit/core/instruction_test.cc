// Lengths of instructions beside objdump's; what each does to the stack pointer, by hand.
#include "core/stack/instruction_x86_64.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace heldby::core {
namespace {

using Kind = Instruction::Kind;

struct Known {
  std::vector<std::uint8_t> bytes;
  Kind kind;
  std::int32_t value;
};

const Known kKnown[] = {
    {{0x55}, Kind::kMovesStack, -8},                                  // push %rbp
    {{0x41, 0x57}, Kind::kMovesStack, -8},                            // push %r15
    {{0x41, 0x5c}, Kind::kMovesStack, 8},                             // pop %r12
    {{0x5c}, Kind::kStackLost, 0},                                    // pop %rsp
    {{0x6a, 0x07}, Kind::kMovesStack, -8},                            // push $7
    {{0x68, 1, 2, 3, 4}, Kind::kMovesStack, -8},                      // push $0x4030201
    {{0xff, 0x75, 0x08}, Kind::kMovesStack, -8},                      // push 8(%rbp)
    {{0x8f, 0x45, 0xf8}, Kind::kMovesStack, 8},                       // pop -8(%rbp)
    {{0x66, 0x50}, Kind::kStackLost, 0},                              // push %ax
    {{0x48, 0x83, 0xec, 0x18}, Kind::kMovesStack, -0x18},             // sub $0x18,%rsp
    {{0x48, 0x83, 0xec, 0x80}, Kind::kMovesStack, 0x80},              // sub $-0x80,%rsp
    {{0x48, 0x81, 0xec, 0, 0x10, 0, 0}, Kind::kMovesStack, -0x1000},  // sub $0x1000,%rsp
    {{0x48, 0x83, 0xc4, 0x20}, Kind::kMovesStack, 0x20},              // add $0x20,%rsp
    {{0x49, 0x83, 0xec, 0x18}, Kind::kOther, 0},                      // sub $0x18,%r12
    {{0x83, 0xec, 0x18}, Kind::kStackLost, 0},                        // sub $0x18,%esp
    {{0x48, 0x83, 0xe4, 0xe0}, Kind::kStackLost, 0},                  // and $-32,%rsp
    {{0x48, 0x29, 0xc4}, Kind::kStackLost, 0},                        // sub %rax,%rsp
    {{0x48, 0x29, 0xe0}, Kind::kOther, 0},                            // sub %rsp,%rax
    {{0x4c, 0x39, 0xdc}, Kind::kStackLost, 0},                        // cmp %r11,%rsp
    {{0x48, 0x8d, 0x64, 0x24, 0xd8}, Kind::kMovesStack, -0x28},       // lea -40(%rsp),%rsp
    {{0x48, 0x8d, 0x65, 0xd8}, Kind::kStackByFrame, -0x28},           // lea -40(%rbp),%rsp
    {{0x48, 0x8d, 0xa5, 0, 0xff, 0xff, 0xff}, Kind::kStackByFrame, -0x100},
    {{0x49, 0x8d, 0x65, 0xd8}, Kind::kStackLost, 0},        // lea -40(%r13),%rsp
    {{0x48, 0x8d, 0x64, 0x04, 0xd8}, Kind::kStackLost, 0},  // ... (%rsp,%rax),%rsp
    {{0x4c, 0x8d, 0x64, 0x24, 0xd8}, Kind::kOther, 0},      // lea -40(%rsp),%r12
    {{0xc9}, Kind::kStackByFrame, 8},                       // leave
    {{0x48, 0x89, 0xec}, Kind::kStackByFrame, 0},           // mov %rbp,%rsp
    {{0x48, 0x8b, 0xe5}, Kind::kStackByFrame, 0},           // the same
    {{0x48, 0x89, 0xe5}, Kind::kOther, 0},                  // mov %rsp,%rbp
    {{0x48, 0x89, 0xdc}, Kind::kStackLost, 0},              // mov %rbx,%rsp
    {{0x48, 0x94}, Kind::kStackLost, 0},                    // xchg %rax,%rsp
    {{0x49, 0x94}, Kind::kOther, 0},                        // xchg %rax,%r12
    {{0xe8, 0xfb, 0xff, 0xff, 0xff}, Kind::kCall, -5},
    {{0x66, 0x66, 0x48, 0xe8, 1, 0, 0, 0}, Kind::kCall, 1},    // as for __tls_get_addr
    {{0xff, 0x15, 0x10, 0, 0, 0}, Kind::kIndirectCall, 0x10},  // call *0x10(%rip)
    {{0x41, 0xff, 0x54, 0x24, 0x08}, Kind::kIndirectCall, 8},  // call *8(%r12)
    {{0xeb, 0xfe}, Kind::kJump, -2},
    {{0xe9, 0, 1, 0, 0}, Kind::kJump, 0x100},
    {{0x74, 0x05}, Kind::kConditional, 5},
    {{0x0f, 0x84, 5, 0, 0, 0}, Kind::kConditional, 5},
    {{0x3e, 0xff, 0xe0}, Kind::kIndirectJump, 0},              // notrack jmp *%rax
    {{0xf2, 0xff, 0x25, 4, 0, 0, 0}, Kind::kIndirectJump, 4},  // bnd jmp *4(%rip)
    {{0xc3}, Kind::kStop, 0},
    {{0xf3, 0xc3}, Kind::kStop, 0},                                    // rep ret
    {{0x0f, 0x0b}, Kind::kStop, 0},                                    // ud2
    {{0xf3, 0x0f, 0x1e, 0xfa}, Kind::kOther, 0},                       // endbr64
    {{0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8}, Kind::kOther, 0},           // movabs
    {{0x66, 0xc7, 0x45, 0xfe, 1, 2}, Kind::kOther, 0},                 // movw $0x201,-2(%rbp)
    {{0xf7, 0x45, 0xf8, 1, 2, 3, 4}, Kind::kOther, 0},                 // testl $..., -8(%rbp)
    {{0xf7, 0x5d, 0xf8}, Kind::kOther, 0},                             // negl -8(%rbp)
    {{0x64, 0x48, 0x8b, 0x04, 0x25, 0x28, 0, 0, 0}, Kind::kOther, 0},  // mov %fs:0x28,%rax
    {{0x0f, 0x29, 0x65, 0xa0}, Kind::kOther, 0},                       // movaps %xmm4,-96(%rbp)
    {{0xc5, 0xf8, 0x77}, Kind::kOther, 0},                             // vzeroupper
    {{0xc4, 0xe3, 0x7d, 0x39, 0xc1, 0x01}, Kind::kOther, 0},           // vextracti128
    {{0x62, 0xf1, 0x7c, 0x48, 0x11, 0x45, 0xff}, Kind::kOther, 0},     // vmovups %zmm0,...
};

TEST(DecodeInstruction, TellsWhatEachDoesToTheStackPointer) {
  for (const Known& known : kKnown) {
    Instruction instruction;
    ASSERT_TRUE(DecodeInstruction(known.bytes.data(), known.bytes.size(), &instruction))
        << testing::PrintToString(known.bytes);
    EXPECT_EQ(instruction.length, known.bytes.size()) << testing::PrintToString(known.bytes);
    EXPECT_EQ(instruction.kind, known.kind) << testing::PrintToString(known.bytes);
    EXPECT_EQ(instruction.value, known.value) << testing::PrintToString(known.bytes);
  }
}

TEST(DecodeInstruction, RefusesWhatIsCutAndWhatIsNoInstruction) {
  for (const Known& known : kKnown) {
    for (std::size_t size = 0; size < known.bytes.size(); ++size) {
      // A copy of its own, so that a sanitizer sees a byte read too many.
      const std::vector<std::uint8_t> bytes(known.bytes.begin(),
                                            known.bytes.begin() + static_cast<long>(size));
      Instruction instruction;
      EXPECT_FALSE(DecodeInstruction(bytes.data(), size, &instruction))
          << size << " of " << testing::PrintToString(known.bytes);
    }
  }
  for (const int first : {0x06, 0x27, 0x60, 0x82, 0x9a, 0xd4, 0xea}) {
    const std::uint8_t bytes[16] = {static_cast<std::uint8_t>(first)};
    Instruction instruction;
    EXPECT_FALSE(DecodeInstruction(bytes, sizeof(bytes), &instruction)) << first;
  }
}

TEST(DecodeInstruction, OfRandomBytesReadsNoneBehindTheLast) {
  std::mt19937 random(1);
  for (int i = 0; i < 200'000; ++i) {
    std::vector<std::uint8_t> bytes(random() % 18);
    for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random());
    Instruction instruction;
    if (!DecodeInstruction(bytes.data(), bytes.size(), &instruction)) continue;
    ASSERT_LE(instruction.length, bytes.size());
    ASSERT_LE(instruction.length, kMaxInstructionBytes);
    ASSERT_GE(instruction.length, 1);
  }
}

TEST(DecodeInstruction, ReadsNothingOfThePageBehind) {
  constexpr std::size_t kPage = 4096;
  auto* pages = static_cast<std::uint8_t*>(
      mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(pages, MAP_FAILED);
  ASSERT_EQ(mprotect(pages + kPage, kPage, PROT_NONE), 0);
  std::mt19937 random(2);
  for (int i = 0; i < 500'000; ++i) {
    const std::size_t size = random() % 18;
    std::uint8_t* bytes = pages + kPage - size;
    for (std::size_t at = 0; at < size; ++at) bytes[at] = static_cast<std::uint8_t>(random());
    // Every other one begins as something long does.
    constexpr std::uint8_t kBegins[] = {0x0f, 0x48, 0x62, 0x66, 0x81, 0xc4, 0xc5, 0xf7};
    if (size > 0 && i % 2 == 0) bytes[0] = kBegins[random() % sizeof(kBegins)];
    Instruction instruction;
    if (DecodeInstruction(bytes, size, &instruction)) {
      ASSERT_LE(instruction.length, size);
    }
  }
  munmap(pages, 2 * kPage);
}

TEST(DecodeInstruction, RefusesAPrefixBehindRex) {
  // The processor forgets the REX; the length would be another.
  for (const int prefix :
       {0x26, 0x2e, 0x36, 0x3e, 0x40, 0x4f, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3}) {
    const std::uint8_t bytes[16] = {0x48, static_cast<std::uint8_t>(prefix), 0xb8};
    Instruction instruction;
    EXPECT_FALSE(DecodeInstruction(bytes, sizeof(bytes), &instruction)) << prefix;
  }
}

// objdump takes an fwait for a part of the instruction behind it.
bool BeginsWithWait(const std::vector<std::uint8_t>& bytes) {
  return bytes.size() > 1 && bytes[0] == 0x9b;
}

// "  1234:\t48 89 e5             \tmov    %rsp,%rbp": the bytes, and the text behind.
bool ParseLine(const char* line, std::vector<std::uint8_t>* bytes, std::string* text) {
  bytes->clear();
  const char* at = std::strchr(line, '\t');
  const char* end = at == nullptr ? nullptr : std::strchr(at + 1, '\t');
  if (end == nullptr) return false;
  const std::string hex(at, end);
  unsigned byte = 0;
  at = hex.c_str();
  for (int taken = 0; std::sscanf(at, "%2x%n", &byte, &taken) == 1; at += taken) {
    bytes->push_back(static_cast<std::uint8_t>(byte));
  }
  *text = end + 1;
  return !bytes->empty() && text->find("(bad)") == std::string::npos;
}

// The last operand is rsp itself.
bool WritesStackPointer(const std::string& text) {
  return text.find(",%rsp\n") != std::string::npos && text.rfind("test", 0) != 0;
}

void CompareWithObjdump(const std::string& file, int at_least) {
  std::FILE* pipe = popen(("objdump -dw " + file).c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  char line[512];
  int compared = 0;
  int different = 0;
  std::vector<std::uint8_t> bytes;
  std::string text;
  while (std::fgets(line, sizeof(line), pipe) != nullptr) {
    if (!ParseLine(line, &bytes, &text) || BeginsWithWait(bytes)) continue;
    ++compared;
    Instruction instruction;
    const bool understood = DecodeInstruction(bytes.data(), bytes.size(), &instruction);
    const bool same = understood && instruction.length == bytes.size() &&
                      !(WritesStackPointer(text) && instruction.kind == Kind::kOther);
    if (!same && ++different < 20) ADD_FAILURE() << file << ": " << line;
  }
  EXPECT_EQ(pclose(pipe), 0);
  EXPECT_EQ(different, 0);
  EXPECT_GT(compared, at_least);
}

TEST(DecodeInstruction, OfTheCLibraryAndOfThisProgramGivesObjdumpsLengths) {
  CompareWithObjdump("/proc/" + std::to_string(getpid()) + "/exe", 20'000);
  CompareWithObjdump("/lib/x86_64-linux-gnu/libc.so.6", 100'000);
}

}  // namespace
}  // namespace heldby::core
