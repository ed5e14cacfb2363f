// Rows that compilers rarely write (odd_cfi_x86_64.S): the walk through each is libgcc's.
#include <csetjmp>

#include "comparison.h"

extern "C" {
void OddCfaByRbx(void (*then)());
void OddCfaByR12(void (*then)());
void OddSavesRbx(void (*then)());
void OddCfaByExpression(void (*then)());
void OddFrameByExpression(void (*then)());
void OddFrameInRegister(void (*then)());
void OddRememberedState(void (*then)());
void OddHugeFrame(void (*then)());
void OddPushedArguments(void (*then)());
void OddCallAtTheEnd(void (*then)());
void OddNoRowsButFramePointer(void (*then)());
void OddFrameByExpressionOnCfa(void (*then)());
void OddCfaAndFrameByRbx(void (*then)());
void OddSignalFrame(void (*then)());
void OddReturnInRegister(void (*then)());
void OddFrameAtTheEndOfMemory(void (*then)());
void OddNoRowsDataInFrame(void (*then)(), std::uintptr_t data);
}

namespace heldby::core {
namespace {

using Function = void (*)(void (*)());

// A frame by rsp and one by rbp above the odd one: what it says of either is needed.
__attribute__((noinline, optimize("omit-frame-pointer"))) void ByStackPointer(Function odd,
                                                                              void (*then)()) {
  odd(then);
  asm volatile("");
}
__attribute__((noinline, optimize("no-omit-frame-pointer"))) void ByFramePointer(
    Function odd, void (*then)()) {
  odd(then);
  asm volatile("");
}

class OddCfi : public testing::TestWithParam<Function> {};

TEST_P(OddCfi, IsWalkedThroughAsLibgccDoes) {
  ByStackPointer(GetParam(), &ExpectTheSameStack);
  ByFramePointer(GetParam(), &ExpectTheSameStack);
}

INSTANTIATE_TEST_SUITE_P(Every, OddCfi,
                         testing::Values(&OddCfaByRbx, &OddCfaByR12, &OddCfaByExpression,
                                         &OddFrameByExpression, &OddRememberedState,
                                         &OddHugeFrame, &OddPushedArguments, &OddCallAtTheEnd));

TEST(OddCfi, ARegisterIsFollowedThroughAFrameThatSavesIt) {
  ByStackPointer(&OddCfaByRbx, [] { OddSavesRbx(&ExpectTheSameStack); });
  ByStackPointer(&OddCfaByR12, [] { OddCfaByR12([] { OddSavesRbx(&ExpectTheSameStack); }); });
}

TEST(OddCfi, TwoRegistersMoreCutTheStackAndItSaysSo) {
  static Stack stack;
  static Reference reference;
  ByStackPointer(&OddCfaByRbx, [] {
    OddCfaByR12([] {
      CaptureStack(reinterpret_cast<std::uintptr_t>(__builtin_return_address(0)), &stack);
      CaptureReference(&reference);
    });
  });
  EXPECT_EQ(Compare(stack, reference), Verdict::kTruncated);
  EXPECT_GE(stack.depth, 2);
}

TEST(OddCfi, AFramePointerThatIsLostCutsTheStackOnlyWhereItIsNeeded) {
  static Stack stack;
  static Reference reference;
  const auto take = [] {
    CaptureStack(reinterpret_cast<std::uintptr_t>(__builtin_return_address(0)), &stack);
    CaptureReference(&reference);
  };
  ByStackPointer(&OddFrameInRegister, take);
  EXPECT_NE(Compare(stack, reference), Verdict::kDifferent);
  const int by_stack_pointer = stack.depth;
  ByFramePointer(&OddFrameInRegister, take);
  EXPECT_EQ(Compare(stack, reference), Verdict::kTruncated);
  EXPECT_GE(by_stack_pointer, stack.depth);
}

TEST(OddCfi, CodeWithoutRowsIsSteppedOverByItsFramePointer) {
  static Stack stack;
  static Reference reference;
  ByFramePointer(&OddNoRowsButFramePointer, [] {
    CaptureStack(reinterpret_cast<std::uintptr_t>(__builtin_return_address(0)), &stack);
    CaptureReference(&reference);
  });
  EXPECT_EQ(Compare(stack, reference), Verdict::kLonger);
  EXPECT_FALSE(stack.truncated);
}

Stack cut;
void TakeIt() {
  CaptureStack(reinterpret_cast<std::uintptr_t>(__builtin_return_address(0)), &cut);
}

TEST(OddCfi, ARowThatCannotBeFollowedIsNotGuessedAround) {
  ByFramePointer(&OddReturnInRegister, &TakeIt);
  EXPECT_EQ(cut.depth, 1);
  EXPECT_TRUE(cut.truncated);
}

TEST(OddCfi, ALoadFromTheEndOfMemoryIsRefused) {
  ByStackPointer(&OddFrameAtTheEndOfMemory, &TakeIt);
  EXPECT_EQ(cut.depth, 1);
  EXPECT_TRUE(cut.truncated);
}

TEST(OddCfi, AFramePointerThatIsDataEndsTheWalkAndItSaysSo) {
  // A frame as a guess would have it, that "returns" to data of this program.
  static std::uintptr_t data[4] = {0, reinterpret_cast<std::uintptr_t>(&cut)};
  alignas(16) std::uintptr_t on_stack[4] = {0, reinterpret_cast<std::uintptr_t>(data)};
  for (const std::uintptr_t fp :
       {std::uintptr_t{0}, std::uintptr_t{1}, reinterpret_cast<std::uintptr_t>(data),
        reinterpret_cast<std::uintptr_t>(on_stack)}) {
    OddNoRowsDataInFrame(&TakeIt, fp);
    EXPECT_EQ(cut.depth, 1) << std::hex << fp;
    EXPECT_TRUE(cut.truncated);
  }
}

}  // namespace
}  // namespace heldby::core
