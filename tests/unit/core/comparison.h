// Our walk beside libgcc's, for the tests of the unwinder: the same stack must come out of
// both.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>

#include "core/stack/capture.h"
#include "reference.h"

namespace heldby::core {

/// Both stacks from the caller of this function on must be the same, to the root.
__attribute__((noinline)) inline void ExpectTheSameStack() {
  Stack ours;
  Reference theirs;
  CaptureStack(reinterpret_cast<std::uintptr_t>(__builtin_return_address(0)), &ours);
  CaptureReference(&theirs);
  EXPECT_EQ(Compare(ours, theirs), Verdict::kIdentical);
}

}  // namespace heldby::core
