#include "core/stack/lost_frame_x86_64.h"

#include "core/stack/instruction_x86_64.h"
#include "core/stack/stack_depth_x86_64.h"
#include "core/stack/walker_x86_64.h"

namespace heldby::core {
namespace {

// What is kept in the cache of rules under keys of its own.
constexpr std::uint64_t kDepthKey = 0x5bd1e995a4093822;
constexpr std::uint64_t kCallKey = 0x9ddfea08eb382d69;

// How a return address came to be above the frame of a function.
enum class Call : std::uint8_t { kNone = 1, kPossible, kCertain };

std::uintptr_t Plus(std::uintptr_t base, std::int32_t offset) {
  return base + static_cast<std::uintptr_t>(std::intptr_t{offset});
}

class Finder {
 public:
  Finder(const LostFrame& frame, ParkedMemory& stack)
      : frame_(frame),
        stack_(stack),
        code_(0),
        key_(RuleCache::KeyOf(frame.hash, inside(), frame.exact)) {}

  std::uintptr_t Find() {
    const std::int32_t depth = Depth();
    if (depth == 0) return 0;
    const std::uintptr_t cfa = Plus(frame_.sp, depth);
    std::uint64_t caller = 0;
    std::uint64_t caller_fp = 0;
    if (cfa % 8 != 0 || !stack_.Load(cfa - 8, &caller) || !stack_.Load(cfa - 16, &caller_fp)) {
      return 0;
    }
    Module module;
    if (!FindModule(caller - 1, &module)) return 0;
    const std::uint64_t hash = Hash(module);
    const Call call = CallBy(caller, hash);
    const bool believed =
        call == Call::kCertain ||
        (call == Call::kPossible && LeadsOn(module, hash, caller, cfa, caller_fp));
    return believed ? cfa : 0;
  }

 private:
  std::uintptr_t inside() const { return frame_.exact ? frame_.pc : frame_.pc - 1; }

  bool ReadOwnEntry(Entry* entry) const { return ReadEntry(frame_.module, inside(), entry); }

  // As a rule: the same CFA by the stack pointer.
  std::int32_t Depth() {
    const std::uint64_t key = key_ ^ kDepthKey;
    Rule rule;
    if (const RuleWord word = rule_cache.Find(key); word != 0) {
      UnpackRule(word, &rule);
      return rule.cfa_offset;
    }
    Entry entry;
    rule.kind = Rule::Kind::kStackPlus;
    if (ReadOwnEntry(&entry)) {
      rule.cfa_offset = StackDepthAt(entry, frame_.pc, frame_.exact, code_);
    }
    rule_cache.Remember(key, IsCertain(frame_.hash) ? PackRule(rule) : 0);
    return rule.cfa_offset;
  }

  // What led from there to here is in the code, and stays as it is: kept.
  Call CallBy(std::uintptr_t caller, std::uint64_t caller_hash) {
    const std::uint64_t key =
        (key_ ^ RuleCache::KeyOf(caller_hash, caller, false) * 3) ^ kCallKey;
    if (const RuleWord word = rule_cache.Find(key); word != 0) return static_cast<Call>(word);
    Entry entry;
    const Call call = ReadOwnEntry(&entry) ? Judge(caller, entry.pc_begin) : Call::kNone;
    const bool keep = IsCertain(frame_.hash) && IsCertain(caller_hash);
    rule_cache.Remember(key, keep ? static_cast<RuleWord>(call) : 0);
    return call;
  }

  Call Judge(std::uintptr_t caller, std::uintptr_t function) {
    std::size_t size = 0;
    const unsigned char* bytes = code_.Look(caller - 8, 8, &size);
    if (size < 8) return Call::kNone;
    std::uint8_t before[8];
    std::memcpy(before, bytes, sizeof(before));
    std::int32_t offset = 0;
    std::memcpy(&offset, before + 4, sizeof(offset));
    // Bytes do not tell for sure which of the two it is: the displacement of one may look like
    // the other.
    Call call = Call::kNone;
    if (EndsWithIndirectCall(before)) {
      call = Call::kPossible;
      std::uint64_t target = 0;
      if (before[2] == 0xff && before[3] == 0x15 && code_.Load(Plus(caller, offset), &target) &&
          AtTheEndOfJumps(target, function) == function) {
        return Call::kCertain;
      }
    }
    if (before[3] == 0xe8) {
      const std::uintptr_t target = AtTheEndOfJumps(Plus(caller, offset), function);
      if (target == function) return Call::kCertain;
      Module module;
      Entry entry;
      if (FindModule(target, &module) && ReadEntry(module, target, &entry) &&
          entry.pc_begin == target && MayLeaveByAJump(entry, code_)) {
        call = Call::kPossible;
      }
    }
    return call;
  }

  // Through PLT entries and functions that are nothing but a jump; not beyond `function`, which
  // may itself begin with one, over words that a sanitizer put there.
  std::uintptr_t AtTheEndOfJumps(std::uintptr_t target, std::uintptr_t function) {
    std::uintptr_t at = target;
    for (int i = 0; i < 10 && target != function; ++i) {
      Instruction instruction;
      std::size_t size = 0;
      const unsigned char* bytes = code_.Look(at, kMaxInstructionBytes, &size);
      const bool landing_pad = size >= 4 && std::memcmp(bytes, "\xf3\x0f\x1e\xfa", 4) == 0;
      if (!DecodeInstruction(bytes, size, &instruction)) return target;
      at += instruction.length;
      if (instruction.kind == Instruction::Kind::kJump) {
        target = at = Plus(at, instruction.value);
      } else if (instruction.kind == Instruction::Kind::kIndirectJump &&
                 instruction.rip_relative) {
        std::uint64_t word = 0;
        if (!code_.Load(Plus(at, instruction.value), &word)) return target;
        target = at = word;
      } else if (!landing_pad) {
        return target;
      }
    }
    return target;
  }

  bool LeadsOn(const Module& module, std::uint64_t hash, std::uintptr_t caller,
               std::uintptr_t sp, std::uintptr_t fp) {
    Rule rule;
    const RuleWord word = rule_cache.Find(RuleCache::KeyOf(hash, caller - 1, false));
    if (word != 0) {
      UnpackRule(word, &rule);
    } else {
      rule = FindRule(module, caller - 1, kRegisters);
    }
    if (rule.kind == Rule::Kind::kEnd) return true;
    if (rule.kind != Rule::Kind::kStackPlus && rule.kind != Rule::Kind::kFramePlus)
      return false;
    const std::uintptr_t cfa =
        Plus(rule.kind == Rule::Kind::kStackPlus ? sp : fp, rule.cfa_offset);
    std::uint64_t next = 0;
    if (cfa <= sp || cfa - sp > kMaxFrameBytes || cfa % 8 != 0 ||
        !stack_.Load(cfa - 8, &next)) {
      return false;
    }
    Module above;
    return FindModule(next - 1, &above) && IsBehindACall(next);
  }

  bool IsBehindACall(std::uintptr_t pc) {
    std::size_t size = 0;
    const unsigned char* before = code_.Look(pc - 8, 8, &size);
    return size >= 8 && (before[3] == 0xe8 || EndsWithIndirectCall(before));
  }

  const LostFrame& frame_;
  ParkedMemory& stack_;
  ParkedMemory code_;
  const std::uint64_t key_;
};

}  // namespace

std::uintptr_t FindLostFrame(const LostFrame& frame, const Rule& rule, ParkedMemory& stack) {
  // Frames of compilers look like this, and none else is read.
  if (rule.cfa_offset != 16 || rule.frame_saved_at != -16 || rule.frame_expression.size != 0) {
    return 0;
  }
  return Finder(frame, stack).Find();
}

}  // namespace heldby::core
