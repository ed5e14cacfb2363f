// The reader of unwind tables, on a module that may say anything: FindRule, the expressions it
// finds, and the module's identity. Whatever they say, nothing outside the module is read.
//
// Input: offset of .eh_frame_hdr, first program counter as an offset (4 bytes each, little
// endian), then the module as it lies in memory.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "core/stack/cfi.h"
#include "core/stack/expression.h"
#include "core/stack/module.h"

namespace {

using namespace heldby::core;  // NOLINT: a fuzz target is one function

bool AnyRegister(void*, unsigned number, std::uint64_t* value) {
  *value = number * 0x1001;
  return number < 17;
}
bool AnyMemory(void*, std::uint64_t address, std::uint64_t* value) {
  *value = address * 3;
  return address % 8 == 0;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::uint32_t header[2];
  if (size <= sizeof(header)) return 0;
  std::memcpy(header, data, sizeof(header));
  // A copy of its own, so that a sanitizer sees the first byte beyond it.
  const std::vector<std::uint8_t> bytes(data + sizeof(header), data + size);
  const Module module = {.begin = bytes.data(),
                         .end = bytes.data() + bytes.size(),
                         .eh_frame_hdr = bytes.data() + header[0] % bytes.size()};
  if (Hash(module) == 0) __builtin_trap();
  const auto first = reinterpret_cast<std::uintptr_t>(module.begin) + header[1];
  const ExpressionInput input = {&AnyRegister, &AnyMemory, nullptr};
  for (const std::uint8_t frame_pointer : {std::uint8_t{6}, std::uint8_t{3}}) {
    for (std::uintptr_t pc = first; pc < first + 256; ++pc) {
      const Rule rule = FindRule(module, pc, {frame_pointer, 7, 16});
      std::uint64_t result = 0;
      for (const Bytes& expression : {rule.cfa_expression, rule.frame_expression}) {
        if (expression.size != 0) (void)Evaluate(expression, input, nullptr, &result);
      }
    }
  }
  return 0;
}
