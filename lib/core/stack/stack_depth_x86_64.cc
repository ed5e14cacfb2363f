#include "core/stack/stack_depth_x86_64.h"

#include "core/stack/instruction_x86_64.h"
#include "core/stack/walker_x86_64.h"

namespace heldby::core {
namespace {

using Kind = Instruction::Kind;

constexpr std::int32_t kFrameBytes = 16;  // return address and rbp

// False: not code, or not readable.
bool ReadInstruction(std::uintptr_t at, ParkedMemory& code, Instruction* instruction) {
  std::size_t size = 0;
  const unsigned char* bytes = code.Look(at, kMaxInstructionBytes, &size);
  return DecodeInstruction(bytes, size, instruction);
}

std::uintptr_t TargetOf(std::uintptr_t next, const Instruction& instruction) {
  return next + static_cast<std::uintptr_t>(std::intptr_t{instruction.value});
}

class Sweep {
 public:
  Sweep(const Entry& entry, std::uintptr_t pc, bool exact, ParkedMemory& code)
      : entry_(entry), pc_(pc), exact_(exact), code_(code) {}

  void Row(std::uintptr_t begin, std::uintptr_t end, const Rule& rule) {
    if (irregular_) return;
    if (rule.kind == Rule::Kind::kStackPlus) {
      by_frame_ = false;
      offset_ = rule.cfa_offset;
      return;
    }
    if (rule.kind != Rule::Kind::kFramePlus || rule.cfa_offset != kFrameBytes ||
        end - entry_.pc_begin > entry_.pc_size) {
      irregular_ = true;
      return;
    }
    if (!by_frame_) Enter(begin);
    by_frame_ = true;
    for (std::uintptr_t at = begin; at != end && !irregular_;) at = Next(at, end);
  }

  std::int32_t found() const { return irregular_ ? 0 : found_; }

 private:
  static constexpr std::int32_t kUnknown = 0;  // no depth is less than 16

  // Into the frame: by its prologue, or behind a return, from where only jumps lead.
  void Enter(std::uintptr_t begin) {
    constexpr std::uint32_t kMoves[] = {0xe58948, 0xec8b48};  // mov %rsp,%rbp
    depth_ = base_;
    if (begin - entry_.pc_begin < 3) return;
    std::size_t size = 0;
    const unsigned char* bytes = code_.Look(begin - 3, 3, &size);
    if (size < 3) return;
    const std::uint32_t before = bytes[0] | bytes[1] << 8 | bytes[2] << 16;
    if (before != kMoves[0] && before != kMoves[1]) return;
    depth_ = kFrameBytes;
    irregular_ = offset_ != kFrameBytes;
  }

  std::uintptr_t Next(std::uintptr_t at, std::uintptr_t end) {
    Instruction instruction;
    irregular_ = !ReadInstruction(at, code_, &instruction) || instruction.length > end - at;
    if (irregular_) return end;
    if (exact_ && at == pc_) found_ = depth_;
    const std::uintptr_t next = at + instruction.length;
    switch (instruction.kind) {
      case Kind::kOther:
        break;
      case Kind::kMovesStack:
        if (depth_ != kUnknown) Becomes(std::int64_t{depth_} - instruction.value);
        break;
      case Kind::kStackByFrame:
        Becomes(std::int64_t{kFrameBytes} - instruction.value);
        break;
      case Kind::kStackLost:
        irregular_ = true;
        break;
      case Kind::kCall:
      case Kind::kIndirectCall:
        if (!exact_ && next == pc_) found_ = depth_;
        break;
      case Kind::kConditional:
      case Kind::kJump:
        if (TargetOf(next, instruction) - entry_.pc_begin < entry_.pc_size) Jumps();
        if (instruction.kind == Kind::kJump) depth_ = base_;
        break;
      case Kind::kIndirectJump:
      case Kind::kStop:
        depth_ = base_;
        break;
    }
    return next;
  }

  void Becomes(std::int64_t depth) {
    // At 8 rbp has been taken back, in front of a return that has no row of its own.
    irregular_ = depth < 0 || depth > static_cast<std::int64_t>(kMaxFrameBytes);
    depth_ = static_cast<std::int32_t>(depth);
  }

  void Jumps() {
    if (depth_ == kUnknown) return;
    if (base_ == kUnknown) base_ = depth_;
    irregular_ = depth_ != base_;
  }

  const Entry& entry_;
  const std::uintptr_t pc_;
  const bool exact_;
  ParkedMemory& code_;
  bool irregular_ = false;
  bool by_frame_ = false;    // the row before is one by rbp
  std::int32_t offset_ = 0;  // of the last row by rsp
  std::int32_t depth_ = kUnknown;
  std::int32_t base_ = kUnknown;  // where jumps are made
  std::int32_t found_ = kUnknown;
};

}  // namespace

std::int32_t StackDepthAt(const Entry& entry, std::uintptr_t pc, bool exact,
                          ParkedMemory& code) {
  if (entry.pc_size > kMaxFunctionBytes) return 0;
  Sweep sweep(entry, pc, exact, code);
  const RowVisitor visitor = {
      .visit = [](void* context, std::uintptr_t begin, std::uintptr_t end,
                  const Rule& rule) { static_cast<Sweep*>(context)->Row(begin, end, rule); },
      .context = &sweep};
  if (!VisitRows(entry, kRegisters, visitor)) return 0;
  const std::int32_t depth = sweep.found();
  return depth >= kFrameBytes && depth % 8 == 0 ? depth : 0;
}

bool MayLeaveByAJump(const Entry& entry, ParkedMemory& code) {
  if (entry.pc_size > kMaxFunctionBytes) return false;
  const std::uintptr_t end = entry.pc_begin + entry.pc_size;
  for (std::uintptr_t at = entry.pc_begin; at < end;) {
    Instruction instruction;
    if (!ReadInstruction(at, code, &instruction)) return false;
    at += instruction.length;
    if (instruction.kind == Kind::kIndirectJump) return true;
    if ((instruction.kind == Kind::kJump || instruction.kind == Kind::kConditional) &&
        TargetOf(at, instruction) - entry.pc_begin >= entry.pc_size) {
      return true;
    }
  }
  return false;
}

}  // namespace heldby::core
