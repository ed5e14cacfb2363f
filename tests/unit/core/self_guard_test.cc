// Who is inside the profiler, and who was and has jumped out of it.
#include "core/base/self_guard.h"

#include <gtest/gtest.h>
#include <setjmp.h>

namespace heldby::core {
namespace {

jmp_buf target;

__attribute__((noinline)) void JumpFromInside(int depth) {
  volatile char frame[128] = {};
  if (depth > 0) {
    JumpFromInside(depth - 1);
    frame[0] = frame[1];  // no tail call
    return;
  }
  SelfGuard self;
  if (InsideSelf()) longjmp(target, 1);
}

__attribute__((noinline)) bool InsideSelfBelow(int depth) {
  volatile char frame[128] = {};
  const bool inside = depth > 0 ? InsideSelfBelow(depth - 1) : InsideSelf();
  frame[0] = frame[1];
  return inside;
}

// What calls do to the stack that others have left.
__attribute__((noinline)) void WriteOverWhatIsBelow() {
  volatile char room[32 * 1024];
  for (volatile char& byte : room) byte = 0;
}

TEST(SelfGuard, StandsForWhatIsCalledBelowItAndEndsWithItsScope) {
  EXPECT_FALSE(InsideSelf());
  {
    SelfGuard self;
    EXPECT_TRUE(InsideSelf());
    EXPECT_TRUE(InsideSelfBelow(20));
    {
      SelfGuard again;
      EXPECT_TRUE(InsideSelfBelow(3));
    }
    EXPECT_TRUE(InsideSelf());
  }
  EXPECT_FALSE(InsideSelf());
}

TEST(SelfGuard, OneThatWasJumpedOverIsForgotten) {
  if (setjmp(target) == 0) JumpFromInside(10);
  EXPECT_FALSE(InsideSelf());
  SelfGuard self;
  EXPECT_TRUE(InsideSelf());
}

// The thread's own stack is known as far as a walk has seen it.
TEST(SelfGuard, OneThatWasJumpedOverIsForgottenBelowItToo) {
  const auto here = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  thread_slot.stack_high = here + 4096;
  thread_slot.stack_reach = 64 * 1024;
  if (setjmp(target) == 0) JumpFromInside(2);
  WriteOverWhatIsBelow();
  EXPECT_FALSE(InsideSelfBelow(40));
  thread_slot.stack_high = 0;
  thread_slot.stack_reach = 0;
}

}  // namespace
}  // namespace heldby::core
