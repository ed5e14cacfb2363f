// The rules of a thread's previous walk, and who may write them down.
#include "core/stack/last_walk.h"

#include <gtest/gtest.h>

#include <new>

namespace heldby::core {
namespace {

constexpr std::uint64_t kKey = 0x1234567;
constexpr RuleWord kRule = 77;

bool NotesARuleAndFindsIt() {
  int frame = 0;
  const auto place = reinterpret_cast<std::uintptr_t>(&frame);
  {
    LastWalk walk;
    walk.Note(kKey, place, kRule);
  }
  LastWalk next;
  return next.Find(kKey, place) == kRule;
}

TEST(LastWalk, OneWithinAnotherDoesWithout) {
  EXPECT_TRUE(NotesARuleAndFindsIt());
  LastWalk outer;
  EXPECT_FALSE(NotesARuleAndFindsIt());
}

// As a handler does that jumps out of a walk: no destructor runs.
TEST(LastWalk, OneThatWasJumpedOutOfGivesItsSlotBackInTheEnd) {
  alignas(LastWalk) char room[sizeof(LastWalk)];
  new (room) LastWalk;
  bool found = false;
  for (int walks = 0; walks < 200 && !found; ++walks) found = NotesARuleAndFindsIt();
  EXPECT_TRUE(found);
}

}  // namespace
}  // namespace heldby::core
