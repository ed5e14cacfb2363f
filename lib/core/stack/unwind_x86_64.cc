// The walks for x86-64: by unwind tables, with their own eyes on every load.
//
// Only rip, rsp and rbp are followed: they are what 99.97 % and more of Debian's rows need. A
// frame whose row needs more is stepped over by its frame pointer if that is plausible;
// otherwise the walk ends there and the stack is marked as truncated.
//
// Promises  no lock (_dl_find_object takes none), no allocation, errno kept, no load that can
//           fault; works in signal handlers, before constructors, after thread teardown.
//           CaptureParked takes the dynamic linker's lock and works on threads of ours only.
#if !defined(__x86_64__)
#error "this file is for x86-64; another architecture brings its own unwind_<name>.cc"
#endif

#include <link.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include <cstddef>

#include "core/stack/capture.h"
#include "core/stack/cfi.h"
#include "core/stack/expression.h"
#include "core/stack/module.h"
#include "core/stack/parked_memory.h"
#include "core/stack/rule_cache.h"
#include "core/stack/stack_memory.h"

namespace heldby::core {
namespace {

constexpr CfiRegisters kRegisters = {
    .frame_pointer = 6, .stack_pointer = 7, .return_address = 16};
constexpr std::uintptr_t kMaxFrameBytes = 16 << 20;
constexpr std::uintptr_t kMaxGuessedFrameBytes = 128 << 10;

constinit RuleCache rule_cache;

template <typename Memory>
class Walker {
 public:
  explicit Walker(const Registers& at)
      : memory_(at.sp), pc_(at.pc), sp_(at.sp), fp_(at.fp), fp_known_(at.fp_known) {}

  enum class Step { kMoved, kEnd, kLost };

  Step Next() {
    // Two compares, not a switch: a jump table's load would stand in the chain of loads that a
    // walk is.
    Rule rule;
    const Rule::Kind kind = Lookup(&rule);
    if (kind == Rule::Kind::kStackPlus) [[likely]] return ToCaller(sp_ + Offset(rule), rule);
    if (kind == Rule::Kind::kFramePlus && fp_known_) return ToCaller(fp_ + Offset(rule), rule);
    return Rare(kind, rule);
  }

  /// What is recorded: a return address. For a frame that a signal interrupted, the exact
  /// instruction plus one, so that "minus one" is right for every frame.
  std::uintptr_t pc() const { return pc_ + (exact_ ? 1 : 0); }

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
      case Rule::Kind::kStackPlus:
      case Rule::Kind::kFramePlus:  // by a frame pointer that nobody knows
        return Step::kLost;
      case Rule::Kind::kUnknown:
        break;
    }
    return ByFramePointer();
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
    const std::uint64_t key = RuleCache::KeyOf(recent.hash, inside);
    if (!rule_cache.Find(key, rule)) [[unlikely]] Read(key, inside, rule);
    return rule->kind;
  }

  [[gnu::noinline]] void Read(std::uint64_t key, std::uintptr_t inside, Rule* rule) {
    const Module& module = recent_[0].module;
    *rule = FindRule(module, inside, kRegisters);
    if (rule->kind == Rule::Kind::kUnknown && !exact_) {
      // Nobody called from here, but a function begins here: a return address put there by
      // hand, which ends a makecontext stack.
      if (FindRule(module, pc_, kRegisters).kind != Rule::Kind::kUnknown) {
        rule->kind = Rule::Kind::kEnd;
      }
    }
    rule_cache.Remember(key, *rule);
  }

  // Neighbours on a stack are mostly of one module, or go back and forth between two: asking the
  // dynamic linker, and the module for its identity, is the dearest part of a warm frame. What
  // holds for the length of a walk only: a module with a frame on the stack stays.
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
      if (!Evaluate(rule.frame_expression, Input(), &saved_at) ||
          !memory_.Load(saved_at, &caller_fp)) {
        return Step::kLost;
      }
      fp_known_ = true;
    } else if (rule.frame_saved_at != 0) {
      const auto offset = static_cast<std::uintptr_t>(std::intptr_t{rule.frame_saved_at});
      if (!memory_.Load(cfa + offset, &caller_fp)) return Step::kLost;
      fp_known_ = true;
    }
    fp_ = caller_fp;
    return Arrive(return_address, cfa);
  }

  Step ByExpression(const Rule& rule) {
    std::uint64_t cfa = 0;
    memory_.Distrust();
    return Evaluate(rule.cfa_expression, Input(), &cfa) ? ToCaller(cfa, rule) : Step::kLost;
  }

  // No row: generated code, hand-written assembly. A chain of frame pointers is believed if it
  // leads upwards, not far, and to code that belongs to a module.
  Step ByFramePointer() {
    std::uint64_t return_address = 0;
    std::uint64_t caller_fp = 0;
    Module module;
    if (!fp_known_) return Step::kLost;
    if (fp_ == 0) return Step::kEnd;  // the psABI's mark of the outermost frame
    memory_.Distrust();
    if (fp_ < sp_ || fp_ - sp_ > kMaxGuessedFrameBytes || fp_ % 8 != 0 ||
        !memory_.Load(fp_, &caller_fp) || !memory_.Load(fp_ + 8, &return_address) ||
        !FindModule(return_address - 1, &module)) {
      return Step::kLost;
    }
    const std::uintptr_t caller_sp = fp_ + 16;
    fp_ = caller_fp;
    return Arrive(return_address, caller_sp);
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
  std::uintptr_t pc_;
  std::uintptr_t sp_;
  std::uintptr_t fp_;
  bool fp_known_;
  bool exact_ = true;  // the walk begins at an instruction, not behind a call
  int signal_frames_ = 0;
  std::uint16_t module_tag_ = 0;
  Recent recent_[2];
};

// From the walker's place to the root; what is before the frame that `first` returns to, if that
// is found, is left out.
template <typename Memory>
void Walk(Walker<Memory>& walker, std::uintptr_t first, Stack* stack) {
  using Step = typename Walker<Memory>::Step;
  for (bool found = false;;) {
    const Step step = walker.Next();
    if (stack->depth > 0) stack->modules[stack->depth - 1] = walker.module_tag();
    if (step == Step::kEnd) return;
    if (step == Step::kLost || stack->depth == kMaxStackDepth) {
      stack->truncated = true;
      return;
    }
    if (!found && walker.pc() == first) {
      found = true;
      stack->depth = 0;  // forget the frames of ours above it
    }
    stack->modules[stack->depth] = 0;
    stack->frames[stack->depth++] = walker.pc();
  }
}

// From where the thread is, which becomes the first frame.
template <typename Memory>
void WalkFrom(const Registers& registers, Stack* stack) {
  Walker<Memory> walker(registers);
  stack->frames[0] = walker.pc();
  stack->modules[0] = 0;
  stack->depth = 1;
  stack->truncated = false;
  Walk(walker, /*first=*/0, stack);
}

}  // namespace

bool PageIsReadable(std::uintptr_t address) {
  // rt_sigprocmask reads the new mask before it looks at `how`: EFAULT if it cannot, EINVAL if
  // it can. No wrapper of libc's, so errno stays as it is.
  constexpr long kEinval = 22;
  long result;
  register long how asm("rdi") = -1;
  register std::uintptr_t set asm("rsi") = address;
  register long old asm("rdx") = 0;
  register long size asm("r10") = 8;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(SYS_rt_sigprocmask), "r"(how), "r"(set), "r"(old), "r"(size)
               : "rcx", "r11", "memory");
  return result == -kEinval;
}

__attribute__((noinline)) void CaptureStack(std::uintptr_t first, Stack* stack) {
  Registers here;
  // rbp first: the compiler may give it to one of the others.
  asm volatile("mov %%rbp, %[fp]\n\tmov %%rsp, %[sp]\n\tlea (%%rip), %[pc]"
               : [fp] "=&r"(here.fp), [sp] "=&r"(here.sp), [pc] "=&r"(here.pc));
  Walker<StackMemory> walker(here);
  stack->depth = 0;
  stack->truncated = false;
  Walk(walker, first, stack);
}

void CaptureInterrupted(const void* ucontext, Stack* stack) {
  const auto& registers = static_cast<const ucontext_t*>(ucontext)->uc_mcontext.gregs;
  const auto value = [&](int which) { return static_cast<std::uintptr_t>(registers[which]); };
  WalkFrom<StackMemory>({.pc = value(REG_RIP), .sp = value(REG_RSP), .fp = value(REG_RBP)},
                        stack);
}

void CaptureParked(const Registers& registers, Stack* stack) {
  struct Job {
    const Registers& registers;
    Stack* stack;
  } job{registers, stack};
  // The lock is what this is called for: dlclose unmaps with the same one held.
  dl_iterate_phdr(
      [](dl_phdr_info*, std::size_t, void* argument) {
        auto& mine = *static_cast<Job*>(argument);
        WalkFrom<ParkedMemory>(mine.registers, mine.stack);
        return 1;
      },
      &job);
}

}  // namespace heldby::core
