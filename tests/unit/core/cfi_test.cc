// The reader of unwind tables, on a copy of this program's own tables and on what is left of
// them after bytes have been changed: whatever they say, it must stay inside the copy.
#include "core/stack/cfi.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

#include "core/stack/capture.h"
#include "core/stack/expression.h"

namespace heldby::core {
namespace {

// The mapping as a whole, redzones between its variables too.
__attribute__((no_sanitize("address", "thread"))) void ReadLoaded(
    const volatile std::uint8_t* from, std::size_t size, std::uint8_t* to) {
  for (std::size_t i = 0; i < size; ++i) to[i] = from[i];
}

constexpr CfiRegisters kX86 = {.frame_pointer = 6, .stack_pointer = 7, .return_address = 16};

// From the first segment to the end of the unwind tables; a vector, so that AddressSanitizer
// sees every byte beyond it.
class Copy {
 public:
  Copy() {
    EXPECT_TRUE(FindModule(reinterpret_cast<std::uintptr_t>(&CaptureStack), &original_));
    bytes_.resize(static_cast<std::size_t>(original_.end - original_.begin));
    ReadLoaded(original_.begin, bytes_.size(), bytes_.data());
    original_bytes_ = bytes_;
  }
  Module module() const {
    return {.begin = bytes_.data(),
            .end = bytes_.data() + bytes_.size(),
            .eh_frame_hdr = bytes_.data() + (original_.eh_frame_hdr - original_.begin)};
  }
  std::uintptr_t Moved(const void* original) const {
    return reinterpret_cast<std::uintptr_t>(bytes_.data()) +
           static_cast<std::size_t>(static_cast<const std::uint8_t*>(original) -
                                    original_.begin);
  }
  std::size_t table_offset() const {
    return static_cast<std::size_t>(original_.eh_frame_hdr - original_.begin);
  }
  std::vector<std::uint8_t>& bytes() { return bytes_; }
  void Restore() { std::copy(original_bytes_.begin(), original_bytes_.end(), bytes_.begin()); }

 private:
  Module original_{};
  std::vector<std::uint8_t> bytes_;
  std::vector<std::uint8_t> original_bytes_;
};

const void* AddressOfCapture() { return reinterpret_cast<const void*>(&CaptureStack); }

TEST(FindRule, AtItsFirstInstructionAFunctionHasOnlyItsReturnAddressOnTheStack) {
  Copy copy;
  const Rule rule = FindRule(copy.module(), copy.Moved(AddressOfCapture()), kX86);
  EXPECT_EQ(rule.kind, Rule::Kind::kStackPlus);
  EXPECT_EQ(rule.cfa_offset, 8);
  EXPECT_EQ(rule.frame_saved_at, 0);
}

TEST(FindRule, OutsideOfEveryFunctionThereIsNone) {
  Copy copy;
  EXPECT_EQ(
      FindRule(copy.module(), reinterpret_cast<std::uintptr_t>(copy.bytes().data()), kX86).kind,
      Rule::Kind::kUnknown);
}

TEST(FindRule, ChangedTablesNeverLeadOutOfTheModule) {
  Copy copy;
  std::mt19937_64 random(20261122);
  const std::size_t table = copy.table_offset();
  const std::size_t span = std::min<std::size_t>(copy.bytes().size() - table, 64 * 1024);
  const std::uintptr_t pc = copy.Moved(AddressOfCapture());
  for (int round = 0; round < 20'000; ++round) {
    for (int flips = 0; flips < 8; ++flips) {
      copy.bytes()[table + random() % (flips < 4 ? 64 : span)] =
          static_cast<std::uint8_t>(random());
    }
    for (int look = 0; look < 8; ++look) FindRule(copy.module(), pc + random() % 4096, kX86);
    if (round % 4 == 3) copy.Restore();
  }
}

TEST(FindRule, ATruncatedTableIsNoTable) {
  Copy copy;
  Module module = copy.module();
  for (std::size_t size = 0; size < 200; ++size) {
    module.end = module.eh_frame_hdr + size;
    EXPECT_EQ(FindRule(module, copy.Moved(AddressOfCapture()), kX86).kind,
              Rule::Kind::kUnknown);
  }
}

TEST(Evaluate, ComputesThePltExpression) {
  // breg7 8; breg16 0; lit15; and; lit11; ge; lit3; shl; plus: rsp + 8, and 8 more from
  // byte 11.
  const std::uint8_t code[] = {0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22};
  struct Registers {
    std::uint64_t sp, pc;
  } registers{1000, 0x400010};
  const ExpressionInput input = {
      .read_register =
          [](void* context, unsigned number, std::uint64_t* value) {
            const auto& known = *static_cast<Registers*>(context);
            *value = number == 7 ? known.sp : known.pc;
            return number == 7 || number == 16;
          },
      .read_memory = [](void*, std::uint64_t, std::uint64_t*) { return false; },
      .context = &registers};
  std::uint64_t cfa = 0;
  ASSERT_TRUE(Evaluate({code, sizeof(code)}, input, nullptr, &cfa));
  EXPECT_EQ(cfa, 1008u);
  registers.pc = 0x40001b;
  ASSERT_TRUE(Evaluate({code, sizeof(code)}, input, nullptr, &cfa));
  EXPECT_EQ(cfa, 1016u);
}

TEST(Evaluate, RandomCodeEndsAndStaysInItsBounds) {
  std::mt19937_64 random(7);
  const ExpressionInput input = {
      .read_register = [](void*, unsigned, std::uint64_t* value) { return (*value = 1, true); },
      .read_memory = [](void*, std::uint64_t,
                        std::uint64_t* value) { return (*value = 2, true); },
      .context = nullptr};
  for (int round = 0; round < 100'000; ++round) {
    std::vector<std::uint8_t> code(random() % 40);
    for (auto& byte : code) byte = static_cast<std::uint8_t>(random());
    std::uint64_t result = 0;
    (void)Evaluate({code.data(), static_cast<std::uint32_t>(code.size())}, input, nullptr,
                   &result);
  }
}

}  // namespace
}  // namespace heldby::core
