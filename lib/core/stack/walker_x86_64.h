// core/stack/walker_x86_64.h - one walk from a set of registers to the root.
//
// Only rip, rsp and rbp are followed: they are what 99.97 % and more of Debian's rows need. A
// frame whose row is by another register (the dynamic linker's lazy binding uses rbx, a
// prologue that realigns the stack r10) loses the walk, and says which one it wanted: the
// caller starts again with that one followed, too. A frame without a row is stepped over by its
// frame pointer if that is plausible. Of a parked thread rbp is not known: there a frame by it
// is found by what the code tells (lost_frame_x86_64.h).
//
// Promises  no lock, no allocation, errno kept, no load that can fault; works in signal
//           handlers, before constructors, after thread teardown.
#pragma once

#include <sys/auxv.h>
#include <ucontext.h>

#include <cstddef>
#include <cstdint>

#include "core/stack/cfi.h"
#include "core/stack/eh_frame.h"
#include "core/stack/expression.h"
#include "core/stack/last_walk.h"
#include "core/stack/lost_frame_x86_64.h"
#include "core/stack/module.h"
#include "core/stack/rule_cache.h"

namespace heldby::core {

inline constexpr int kFramePointer = 6;  // DWARF's numbers
inline constexpr int kStackPointer = 7;
inline constexpr int kNoRegister = -1;
inline constexpr CfiRegisters kRegisters = {
    .frame_pointer = kFramePointer, .stack_pointer = kStackPointer, .return_address = 16};
inline constexpr std::uintptr_t kMaxFrameBytes = 16 << 20;
inline constexpr std::uintptr_t kMaxGuessedFrameBytes = 128 << 10;

/// Where a walk begins. `value` by DWARF's numbers; what is not known has no meaning.
struct RegisterFile {
  std::uintptr_t pc;
  std::uint32_t known;  // bit n: value[n]
  std::uintptr_t value[16];

  bool Knows(int number) const { return (known >> number & 1) != 0; }
};

constexpr bool IsSavedByCallees(int number) {
  return number == 3 || number == kFramePointer || number >= 12;
}

/// The place of DWARF register 0-15 in mcontext_t::gregs.
constexpr int GregOf(int number) {
  constexpr int kPlaces[] = {REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI,
                             REG_RBP, REG_RSP, REG_R8,  REG_R9,  REG_R10, REG_R11,
                             REG_R12, REG_R13, REG_R14, REG_R15};
  return kPlaces[number];
}

extern RuleCache rule_cache;

/// True: the instruction before `pc` is a call, as far as its bytes tell.
bool CallEndsAt(const Module& module, std::uintptr_t pc);

template <typename Memory>
class Walker {
 public:
  /// `extra`: the number of one more register to follow, at 1 us a frame; kNoRegister: none.
  explicit Walker(const RegisterFile& at, int extra)
      : memory_(at.value[kStackPointer]),
        pc_(at.pc),
        sp_(at.value[kStackPointer]),
        fp_(at.value[kFramePointer]),
        fp_known_(at.Knows(kFramePointer)),
        extra_(extra) {
    if (extra < 0) return;  // kNoRegister
    extra_known_ = at.Knows(extra);
    extra_value_ = at.value[extra];
  }

  enum class Step { kMoved, kEnd, kLost };

  Step Next() {
    // Two compares, not a switch: a jump table's load would stand in the chain of loads that a
    // walk is.
    Rule rule;
    const Rule::Kind kind = Lookup(&rule);
    if (kind == Rule::Kind::kStackPlus) [[likely]]
      return ToCaller(sp_ + Offset(rule), rule);
    if (kind == Rule::Kind::kFramePlus && fp_known_) return ToCaller(fp_ + Offset(rule), rule);
    return Rare(kind, rule);
  }

  /// What is recorded: a return address. For a frame that a signal interrupted, the exact
  /// instruction plus one, so that "minus one" is right for every frame.
  std::uintptr_t pc() const { return pc_ + (exact_ ? 1 : 0); }

  /// The register that would have led on where the walk was lost; kNoRegister: none would.
  int wanted() const { return wanted_; }

  /// Of the frame that the last step left.
  std::uint16_t module_tag() const { return module_tag_; }

 private:
  [[gnu::noinline]] Step Rare(Rule::Kind kind, const Rule& rule) {
    switch (kind) {
      case Rule::Kind::kEnd:
        return Step::kEnd;
      case Rule::Kind::kSignalFrame:
        return Interrupted();
      case Rule::Kind::kExpression:
        return ByExpression(rule);
      case Rule::Kind::kOtherPlus:
        if (rule.cfa_register == extra_ && extra_known_) {
          return ToCaller(extra_value_ + Offset(rule), rule);
        }
        if (extra_ == kNoRegister) wanted_ = rule.cfa_register;
        return Step::kLost;
      case Rule::Kind::kFramePlus:
        return WithoutFramePointer(rule);
      case Rule::Kind::kStackPlus:
      case Rule::Kind::kInexpressible:
        return Step::kLost;
      case Rule::Kind::kUnknown:
        break;
    }
    return exact_ ? AtItsFirstInstruction() : ByFramePointer();
  }

  static std::uintptr_t Offset(const Rule& rule) {
    return static_cast<std::uintptr_t>(static_cast<std::intptr_t>(rule.cfa_offset));
  }

  Rule::Kind Lookup(Rule* rule) {
    // A call may be the last instruction of its function: the row is the call's, not that of
    // whatever follows.
    const std::uintptr_t inside = exact_ ? pc_ : pc_ - 1;
    module_tag_ = 0;
    if (inside - recent_[0].begin >= recent_[0].size && !Enter(inside)) {
      return Rule::Kind::kUnknown;
    }
    const Recent& recent = recent_[0];
    module_tag_ = ModuleTag(recent.hash);
    const std::uint64_t key = RuleCache::KeyOf(recent.hash, inside, exact_);
    RuleWord word = last_.Find(key, sp_);
    if (word == 0) word = rule_cache.Find(key);
    if (word == 0) [[unlikely]]
      word = Read(key, inside, rule);
    if (word != 0) [[likely]] {
      last_.Note(key, sp_, word);
      UnpackRule(word, rule);
    }
    return rule->kind;
  }

  // 0: the rule, which is in *rule, is none that is remembered.
  [[gnu::noinline]] RuleWord Read(std::uint64_t key, std::uintptr_t inside, Rule* rule) {
    const Module& module = recent_[0].module;
    *rule = FindRule(module, inside, kRegisters);
    // Code is read where a row says that there is some: nonsense may lead into a hole.
    const bool is_plausible =
        exact_ || (rule->kind != Rule::Kind::kUnknown && CallEndsAt(module, pc_));
    if (!is_plausible) {
      // Nobody called from here. Where a function begins, the return address was put there by
      // hand, which ends a makecontext stack; the byte before belongs to its neighbour.
      Entry entry;
      if (ReadEntry(module, pc_, &entry) && entry.pc_begin == pc_ && !CallEndsAt(module, pc_)) {
        *rule = {};
        rule->kind = Rule::Kind::kEnd;
      }
    }
    // What cannot be told from its successor for sure is read again each time.
    const RuleWord word = IsCertain(recent_[0].hash) ? PackRule(*rule) : 0;
    rule_cache.Remember(key, word);
    return word;
  }

  // Neighbours on a stack are mostly of one module, or go back and forth between two: asking
  // the dynamic linker, and the module for its identity, is the dearest part of a warm frame.
  // What holds for the length of a walk only: a module with a frame on the stack stays.
  [[gnu::noinline]] bool Enter(std::uintptr_t inside) {
    const Recent last = recent_[0];
    recent_[0] = recent_[1];
    recent_[1] = last;
    if (inside - recent_[0].begin < recent_[0].size) return true;
    Recent found;
    if (!FindModule(inside, &found.module)) return false;
    found.begin = reinterpret_cast<std::uintptr_t>(found.module.begin);
    found.size = static_cast<std::uintptr_t>(found.module.end - found.module.begin);
    found.hash = Hash(found.module);
    recent_[0] = found;
    if (seen_count_ < kSeen) seen_[seen_count_++] = found.begin;
    return true;
  }

  Step ToCaller(std::uintptr_t cfa, const Rule& rule) {
    // Stacks grow down: a caller's frame lies above, or the row is wrong for this stack.
    if (cfa <= sp_ || cfa - sp_ > kMaxFrameBytes || cfa % 8 != 0) return Step::kLost;
    std::uint64_t return_address = 0;
    if (!memory_.Load(cfa - 8, &return_address)) return Step::kLost;
    std::uint64_t caller_fp = fp_;
    if (rule.frame_expression.size != 0) [[unlikely]] {
      std::uint64_t saved_at = 0;
      if (!Evaluate(rule.frame_expression, Input(), &cfa, &saved_at) ||
          !memory_.Load(saved_at, &caller_fp)) {
        return Step::kLost;
      }
      fp_known_ = true;
    } else if (rule.frame_saved_at == Rule::kFrameLost) [[unlikely]] {
      fp_known_ = false;  // the walk goes on until a frame needs it
    } else if (rule.frame_saved_at != 0) {
      const auto offset = static_cast<std::uintptr_t>(std::intptr_t{rule.frame_saved_at});
      if (!memory_.Load(cfa + offset, &caller_fp)) return Step::kLost;
      fp_known_ = true;
    }
    if (extra_ != kNoRegister) [[unlikely]]
      FollowExtra(cfa);
    fp_ = caller_fp;
    const Step step = Arrive(return_address, cfa);
    if (rule.exact_above) [[unlikely]]
      exact_ = true;
    return step;
  }

  // Where this frame keeps the caller's value of the extra register: the same question as for
  // the frame pointer, asked of the tables again.
  [[gnu::noinline]] void FollowExtra(std::uintptr_t cfa) {
    CfiRegisters registers = kRegisters;
    registers.frame_pointer = static_cast<std::uint8_t>(extra_);
    const Rule rule = FindRule(recent_[0].module, exact_ ? pc_ : pc_ - 1, registers);
    if (rule.kind == Rule::Kind::kUnknown || rule.frame_expression.size != 0 ||
        rule.frame_saved_at == Rule::kFrameLost) {
      extra_known_ = false;
    } else if (rule.frame_saved_at != 0) {
      const auto offset = static_cast<std::uintptr_t>(std::intptr_t{rule.frame_saved_at});
      extra_known_ = memory_.Load(cfa + offset, &extra_value_);
    } else {
      // Not touched by this frame; a call by it keeps only what callees save.
      extra_known_ = extra_known_ && IsSavedByCallees(extra_);
    }
  }

  Step ByExpression(const Rule& rule) {
    std::uint64_t cfa = 0;
    return Evaluate(rule.cfa_expression, Input(), nullptr, &cfa) ? ToCaller(cfa, rule)
                                                                 : Step::kLost;
  }

  Step WithoutFramePointer(const Rule& rule) {
    if constexpr (!Memory::kTellsTheFramePointer) {
      const std::uintptr_t cfa =
          FindLostFrame({recent_[0].module, recent_[0].hash, pc_, sp_, exact_}, rule, memory_);
      if (cfa != 0) return ToCaller(cfa, rule);
    }
    return Step::kLost;
  }

  // An instruction was interrupted in code without a row. If it is the first of its function,
  // or of a PLT entry, what the stack pointer points to is where a call left; otherwise nothing
  // is known: the frame pointer may still be the caller's, and would step over that.
  Step AtItsFirstInstruction() {
    std::uint64_t return_address = 0;
    if (!memory_.Load(sp_, &return_address) || !IsBehindACall(return_address)) {
      return Step::kLost;
    }
    extra_known_ = extra_known_ && IsSavedByCallees(extra_);
    return Arrive(return_address, sp_ + 8);
  }

  // No row: generated code, hand-written assembly. A chain of frame pointers is believed if it
  // leads upwards, not far, and to where somebody called. A guess all the same: a function
  // without a frame of its own is stepped over.
  Step ByFramePointer() {
    std::uint64_t return_address = 0;
    std::uint64_t caller_fp = 0;
    if (!fp_known_ || fp_ < sp_ || fp_ - sp_ > kMaxGuessedFrameBytes || fp_ % 8 != 0 ||
        !memory_.Load(fp_, &caller_fp) || !memory_.Load(fp_ + 8, &return_address) ||
        !IsBehindACall(return_address)) {
      return Step::kLost;
    }
    const std::uintptr_t caller_sp = fp_ + 16;
    extra_known_ = false;
    fp_ = caller_fp;
    return Arrive(return_address, caller_sp);
  }

  // Only for modules that cannot go away while this reads them, and a guess may name any: those
  // that rows led to, whose frames keep them loaded, and the program itself.
  bool IsBehindACall(std::uintptr_t pc) const {
    Module module;
    if (!FindModule(pc - 1, &module)) return false;
    const auto begin = reinterpret_cast<std::uintptr_t>(module.begin);
    bool stays = false;
    for (int i = 0; i < seen_count_; ++i) stays = stays || seen_[i] == begin;
    if (!stays) {
      Module program;
      stays = FindModule(getauxval(AT_PHDR), &program) && program.begin == module.begin;
    }
    return stays && FindRule(module, pc - 1, kRegisters).kind != Rule::Kind::kUnknown &&
           CallEndsAt(module, pc);
  }

  // The kernel's frame: rsp points to the ucontext once the handler has returned into the
  // trampoline that the "return address" was.
  Step Interrupted() {
    const auto gregs = sp_ + offsetof(ucontext_t, uc_mcontext.gregs);
    std::uint64_t pc = 0;
    std::uint64_t sp = 0;
    std::uint64_t fp = 0;
    if (!memory_.Load(gregs + REG_RIP * 8, &pc) || !memory_.Load(gregs + REG_RSP * 8, &sp) ||
        !memory_.Load(gregs + REG_RBP * 8, &fp) || ++signal_frames_ > 4) {
      return Step::kLost;
    }
    fp_ = fp;
    fp_known_ = true;
    if (extra_ != kNoRegister) {
      extra_known_ =
          memory_.Load(gregs + static_cast<unsigned>(GregOf(extra_)) * 8, &extra_value_);
    }
    const Step step = Arrive(pc, sp);
    exact_ = true;
    return step;
  }

  Step Arrive(std::uint64_t pc, std::uintptr_t sp) {
    pc_ = pc;
    sp_ = sp;
    exact_ = false;
    return pc == 0 ? Step::kEnd : Step::kMoved;
  }

  ExpressionInput Input() {
    return {.read_register =
                [](void* self, unsigned number, std::uint64_t* value) {
                  const auto& walker = *static_cast<Walker*>(self);
                  if (number == kRegisters.stack_pointer) {
                    *value = walker.sp_;
                  } else if (number == kRegisters.frame_pointer && walker.fp_known_) {
                    *value = walker.fp_;
                  } else if (static_cast<int>(number) == walker.extra_ && walker.extra_known_) {
                    *value = walker.extra_value_;
                  } else if (number == kRegisters.return_address) {
                    *value = walker.pc_;
                  } else {
                    return false;
                  }
                  return true;
                },
            .read_memory =
                [](void* self, std::uint64_t address, std::uint64_t* value) {
                  return static_cast<Walker*>(self)->memory_.Load(address, value);
                },
            .context = this};
  }

  struct Recent {
    std::uintptr_t begin = 0;
    std::uintptr_t size = 0;  // 0: none
    std::uint64_t hash = 0;
    Module module{};
  };

  Memory memory_;
  LastWalk last_;
  std::uintptr_t pc_;
  std::uintptr_t sp_;
  std::uintptr_t fp_;
  bool fp_known_;
  const int extra_;
  bool extra_known_ = false;
  std::uint64_t extra_value_ = 0;
  int wanted_ = kNoRegister;
  bool exact_ = true;  // the walk begins at an instruction, not behind a call
  int signal_frames_ = 0;
  std::uint16_t module_tag_ = 0;
  Recent recent_[2];
  static constexpr int kSeen = 8;
  int seen_count_ = 0;
  std::uintptr_t seen_[kSeen];  // where the modules of this walk begin
};

}  // namespace heldby::core
