// Frames by rbp of threads whose rbp nobody knows: found by the code, believed by their caller.
#include <gtest/gtest.h>

#include <cstdint>

#include "core/stack/capture.h"
#include "core/stack/stack_depth_x86_64.h"

extern "C" {
void DepthPlain();
void DepthPlainReturn();
void DepthPushedReturn();
void DepthPoppedReturn();
void DepthTwoWaysReturn();
void DepthLateReturn();
void DepthComputedReturn();
void DepthRealignedReturn();
void DepthProbedReturn();
void DepthUnevenReturn();
void DepthElsewhereReturn();
void DepthNotCodeReturn();
void CallsPlainReturn();
void CallsByWordReturn();
void CallsStubReturn();
void CallsOtherReturn();
void CallsAnythingReturn();
void CallsTailReturn();
}

namespace heldby::core {
namespace {

std::uintptr_t Address(void (*code)()) { return reinterpret_cast<std::uintptr_t>(code); }

// The same depth is told for the call that returns to `label` and for the instruction there.
std::int32_t DepthOf(void (*label)()) {
  const std::uintptr_t pc = Address(label);
  Module module;
  Entry entry;
  if (!FindModule(pc, &module) || !ReadEntry(module, pc - 1, &entry)) return -1;
  ParkedMemory code(0);
  const std::int32_t depth = StackDepthAt(entry, pc, /*exact=*/false, code);
  EXPECT_EQ(StackDepthAt(entry, pc, /*exact=*/true, code), depth);
  EXPECT_EQ(StackDepthAt(entry, pc + 1, /*exact=*/false, code), 0) << "no call ends there";
  return depth;
}

TEST(StackDepth, IsWhatThePrologueTook) { EXPECT_EQ(DepthOf(&DepthPlainReturn), 96); }

TEST(StackDepth, CountsArgumentsThatWerePushedForACallAndNotBehindIt) {
  EXPECT_EQ(DepthOf(&DepthPushedReturn), 64);
  EXPECT_EQ(DepthOf(&DepthPoppedReturn), 32);
}

TEST(StackDepth, BehindAReturnIsThatOfTheJumpThatLeadsThere) {
  EXPECT_EQ(DepthOf(&DepthTwoWaysReturn), 16 + 8 + 0x1008);
}

TEST(StackDepth, OfAFrameThatIsMadeLateBeginsWhereItIsMade) {
  EXPECT_EQ(DepthOf(&DepthLateReturn), 48);
}

TEST(StackDepth, IsNotToldWhereTheCodeDoesNotSayIt) {
  EXPECT_EQ(DepthOf(&DepthComputedReturn), 0);
  EXPECT_EQ(DepthOf(&DepthRealignedReturn), 0);
  EXPECT_EQ(DepthOf(&DepthProbedReturn), 0);
  EXPECT_EQ(DepthOf(&DepthUnevenReturn), 0);
  EXPECT_EQ(DepthOf(&DepthElsewhereReturn), 0);
  EXPECT_EQ(DepthOf(&DepthNotCodeReturn), 0);
}

// A thread in DepthPlain, as if it waited there. Its frame has 12 words, its caller's two.
class ByHand {
 public:
  explicit ByHand(void (*caller)()) { memory_[19] = Address(caller); }
  ByHand& CallersCaller(std::uintptr_t pc) {
    memory_[21] = pc;
    return *this;
  }
  std::uintptr_t* words() { return memory_; }

  Stack Walk() const {
    Stack stack;
    CaptureParked({.pc = Address(&DepthPlainReturn),
                   .sp = reinterpret_cast<std::uintptr_t>(&memory_[8]),
                   .fp = 0,
                   .fp_known = false},
                  &stack);
    return stack;
  }

 private:
  std::uintptr_t memory_[64] = {};  // a return address of 0 ends a stack
};

void ExpectWhole(const Stack& stack, int depth) {
  EXPECT_EQ(stack.depth, depth);
  EXPECT_FALSE(stack.truncated);
}
void ExpectCutAtOnce(const Stack& stack) {
  EXPECT_EQ(stack.depth, 1);
  EXPECT_TRUE(stack.truncated);
}

TEST(LostFrame, IsBelievedWhereItsFunctionWasCalled) {
  // Twice: what was read of the code is kept.
  for (int i = 0; i < 2; ++i) {
    ExpectWhole(ByHand(&CallsPlainReturn).Walk(), 2);
    ExpectWhole(ByHand(&CallsByWordReturn).Walk(), 2);
    ExpectWhole(ByHand(&CallsStubReturn).Walk(), 2);
  }
}

TEST(LostFrame, IsNotBelievedWhereAnotherFunctionWasCalledOrNone) {
  ByHand another(&CallsOtherReturn);
  for (int i = 0; i < 2; ++i) {
    ExpectCutAtOnce(another.CallersCaller(Address(&CallsPlainReturn)).Walk());
    ExpectCutAtOnce(ByHand(&DepthPlain).Walk());
    ExpectCutAtOnce(ByHand(nullptr).Walk());
  }
}

TEST(LostFrame, OfACallThatMayHaveLedHereIsBelievedIfTheCallersFrameIsOne) {
  const std::uintptr_t good = Address(&CallsPlainReturn);
  for (int i = 0; i < 2; ++i) {
    ExpectWhole(ByHand(&CallsAnythingReturn).CallersCaller(good).Walk(), 3);
    ExpectWhole(ByHand(&CallsTailReturn).CallersCaller(good).Walk(), 3);
    ExpectCutAtOnce(ByHand(&CallsAnythingReturn).CallersCaller(good + 1).Walk());
    ExpectCutAtOnce(ByHand(&CallsAnythingReturn).CallersCaller(12345).Walk());
    ExpectCutAtOnce(ByHand(&CallsTailReturn).CallersCaller(0).Walk());
  }
}

TEST(LostFrame, GivesTheCallersFramePointer) {
  // The caller keeps its frame by rbp, too, far from where the stack pointer is.
  ByHand stack(&DepthLateReturn);
  stack.words()[19] = Address(&CallsAnythingReturn);
  stack.words()[21] = Address(&DepthLateReturn);
  stack.words()[18] = reinterpret_cast<std::uintptr_t>(&stack.words()[40]);
  stack.words()[41] = Address(&CallsPlainReturn);
  ExpectWhole(stack.Walk(), 4);
  stack.words()[18] = 8;
  const Stack cut = stack.Walk();
  EXPECT_TRUE(cut.truncated);
  EXPECT_EQ(cut.depth, 3);
}

}  // namespace
}  // namespace heldby::core
