#include "watch/levels.h"

#include <gtest/gtest.h>

#include <vector>

namespace heldby::watch {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kMillisecond = 1'000'000;
constexpr std::int64_t kMega = 1'000'000;
constexpr std::int64_t kLimit = 512 * kMega;

Reading Of(LimitKind kind, std::int64_t used_bytes, std::int64_t limit_bytes = kLimit) {
  return {.kind = kind, .valid = true, .used_bytes = used_bytes, .limit_bytes = limit_bytes};
}

struct Fired {
  Level level;
  std::int64_t used_bytes;
};

// Memory that grows evenly from `from` up to the limit, looked at as often as is asked for.
std::vector<Fired> Grow(Levels* levels, std::int64_t from, std::int64_t bytes_per_second,
                        std::int64_t* now_ns, std::int64_t to = kLimit) {
  std::vector<Fired> fired;
  const std::int64_t start_ns = *now_ns;
  while (true) {
    const auto grown = static_cast<std::int64_t>(static_cast<double>(*now_ns - start_ns) *
                                                 1e-9 * static_cast<double>(bytes_per_second));
    const std::int64_t used = from + grown;
    if (used >= to) return fired;
    const Reading reading = Of(LimitKind::kCgroup, used);
    const Outlook outlook = levels->Look(*now_ns, {&reading, 1});
    if (outlook.fire != Level::kNone) fired.push_back({outlook.fire, used});
    EXPECT_GT(outlook.next_look_ns, 0);
    *now_ns += outlook.next_look_ns;
  }
}

std::vector<Level> LevelsOf(const std::vector<Fired>& fired) {
  std::vector<Level> levels;
  for (const Fired& one : fired) levels.push_back(one.level);
  return levels;
}

// Comes there in a hundred seconds, and stays.
void Stay(Levels* levels, std::int64_t used, std::int64_t for_ns, std::int64_t* now_ns) {
  *now_ns += 100 * kSecond;
  const std::int64_t end_ns = *now_ns + for_ns;
  while (*now_ns < end_ns) {
    const Reading reading = Of(LimitKind::kCgroup, used);
    const Outlook outlook = levels->Look(*now_ns, {&reading, 1});
    EXPECT_EQ(outlook.fire, Level::kNone);
    *now_ns += outlook.next_look_ns;
  }
}

TEST(Levels, SlowGrowthIsWrittenAtEachShareAndOnceMoreBeforeTheEnd) {
  Levels levels(300 * kSecond);
  std::int64_t now_ns = kSecond;
  const auto fired = Grow(&levels, 0, 5 * kMega, &now_ns);
  EXPECT_EQ(LevelsOf(fired), (std::vector{Level::k80, Level::k90, Level::k95, Level::kSoon}));
  EXPECT_NEAR(static_cast<double>(fired[0].used_bytes), 0.80 * kLimit, 0.02 * kLimit);
  EXPECT_NEAR(static_cast<double>(fired[3].used_bytes), kLimit - 15 * kMega, 6 * kMega);
}

TEST(Levels, FastGrowthIsSeenWithTimeLeft) {
  for (const std::int64_t rate : {50, 200, 500, 1000}) {
    Levels levels(300 * kSecond);
    std::int64_t now_ns = kSecond;
    const auto fired = Grow(&levels, 20 * kMega, rate * kMega, &now_ns);
    ASSERT_FALSE(fired.empty()) << rate;
    EXPECT_LT(fired[0].used_bytes, kLimit * 9 / 10) << rate;
  }
}

TEST(Levels, WhatFillsTheFirstHalfFastIsAStart) {
  Levels levels(300 * kSecond);
  std::int64_t now_ns = kSecond;
  EXPECT_TRUE(Grow(&levels, 0, 1000 * kMega, &now_ns, kLimit * 49 / 100).empty());
}

TEST(Levels, OneDumpSaysWhatTheLevelsPassedOnTheWayWould) {
  Levels levels(300 * kSecond);
  const Reading reading = Of(LimitKind::kCgroup, kLimit * 96 / 100);
  EXPECT_EQ(levels.Look(kSecond, {&reading, 1}).fire, Level::k95);
  EXPECT_EQ(levels.Look(2 * kSecond, {&reading, 1}).fire, Level::kNone);
}

TEST(Levels, ALevelIsSilentForItsCoolDownEvenIfItWasLeft) {
  Levels levels(300 * kSecond);
  std::int64_t now_ns = kSecond;
  const std::int64_t full = kLimit * 82 / 100;
  const Reading reading = Of(LimitKind::kCgroup, full);
  EXPECT_EQ(levels.Look(now_ns, {&reading, 1}).fire, Level::k80);
  now_ns += kSecond;
  Stay(&levels, kLimit / 2, 10 * kSecond, &now_ns);
  Stay(&levels, full, 80 * kSecond, &now_ns);
  now_ns += 10 * kSecond;
  EXPECT_EQ(levels.Look(now_ns, {&reading, 1}).fire, Level::k80);
}

TEST(Levels, ALevelThatIsNotLeftIsNotWrittenAgain) {
  Levels levels(10 * kSecond);
  std::int64_t now_ns = kSecond;
  const Reading reading = Of(LimitKind::kCgroup, kLimit * 82 / 100);
  EXPECT_EQ(levels.Look(now_ns, {&reading, 1}).fire, Level::k80);
  now_ns += kSecond;
  // Up and down around the level, within the hysteresis.
  for (int i = 0; i < 20; ++i) {
    Stay(&levels, kLimit * 76 / 100, 10 * kSecond, &now_ns);
    Stay(&levels, kLimit * 82 / 100, 10 * kSecond, &now_ns);
  }
}

TEST(Levels, AFullHostCountsAndAUsedOneDoesNot) {
  Levels levels(300 * kSecond);
  const Reading used = Of(LimitKind::kHost, kLimit * 93 / 100);
  EXPECT_EQ(levels.Look(kSecond, {&used, 1}).fire, Level::kNone);
  const Reading full = Of(LimitKind::kHost, kLimit * 96 / 100);
  // Half a second later than it could be growth.
  EXPECT_EQ(levels.Look(100 * kSecond, {&full, 1}).fire, Level::k95);
}

TEST(Levels, AFullHostIsSilentUntilItWasLeftForGood) {
  Levels levels(10 * kSecond);
  std::int64_t now_ns = kSecond;
  int dumps = 0;
  for (int i = 0; i < 20; ++i) {
    for (const std::int64_t share : {96, 94}) {
      const Reading reading = Of(LimitKind::kHost, kLimit * share / 100);
      if (levels.Look(now_ns, {&reading, 1}).fire != Level::kNone) ++dumps;
      now_ns += 100 * kSecond;
    }
  }
  EXPECT_EQ(dumps, 1);
}

TEST(Levels, ALimitThatIsNearForGoodDoesNotHideAnother) {
  Levels levels(10 * kSecond);
  // The group around it is full of pages of files; its own fills slowly.
  Reading readings[2] = {Of(LimitKind::kCgroup, 100, 1000), Of(LimitKind::kCgroup, 970, 1000)};
  EXPECT_EQ(levels.Look(kSecond, readings).fire, Level::k95);
  std::vector<Level> fired;
  for (int i = 1; i < 100; ++i) {
    readings[0].used_bytes = 10 * i;
    const Outlook outlook = levels.Look(100 * i * kSecond, readings);
    if (outlook.fire == Level::kNone) continue;
    fired.push_back(outlook.fire);
    EXPECT_EQ(outlook.tightest, 0);
  }
  EXPECT_EQ(fired, (std::vector{Level::k80, Level::k90, Level::k95}));
}

TEST(Levels, TwoLimitsThatAreReachedTogetherAreOneDump) {
  Levels levels(300 * kSecond);
  Reading readings[2] = {Of(LimitKind::kCgroup, 910, 1000), Of(LimitKind::kCgroup, 920, 1000)};
  EXPECT_EQ(levels.Look(kSecond, readings).fire, Level::k90);
  EXPECT_EQ(levels.Look(2 * kSecond, readings).fire, Level::kNone);
}

TEST(Levels, WhatOthersUsedUpDoesNotSilenceWhatIsOursLater) {
  Levels levels(300 * kSecond);
  Reading reading = Of(LimitKind::kCgroup, kLimit * 96 / 100);
  reading.is_of_others = true;
  EXPECT_EQ(levels.Look(kSecond, {&reading, 1}).fire, Level::k95);
  EXPECT_EQ(levels.Look(2 * kSecond, {&reading, 1}).fire, Level::kNone);
  reading.is_of_others = false;
  EXPECT_EQ(levels.Look(3 * kSecond, {&reading, 1}).fire, Level::k95);
  EXPECT_EQ(levels.Look(4 * kSecond, {&reading, 1}).fire, Level::kNone);
}

TEST(Levels, WhatWasNotWrittenIsTriedAgainAfterTheCoolDown) {
  for (const std::int64_t cooldown_seconds : {300, 0}) {
    Levels levels(cooldown_seconds * kSecond);
    const Reading reading = Of(LimitKind::kCgroup, kLimit * 96 / 100);
    EXPECT_EQ(levels.Look(kSecond, {&reading, 1}).fire, Level::k95);
    levels.NotWritten();
    EXPECT_EQ(levels.Look(50 * kSecond, {&reading, 1}).fire, Level::kNone);
    EXPECT_EQ(levels.Look(302 * kSecond, {&reading, 1}).fire, Level::k95);
    EXPECT_EQ(levels.Look(303 * kSecond, {&reading, 1}).fire, Level::kNone);
  }
}

TEST(Levels, TheTightestOfSeveralLimitsIsNamed) {
  Levels levels(300 * kSecond);
  Reading readings[3] = {Of(LimitKind::kCgroup, 100, 1000),
                         Of(LimitKind::kAddressSpace, 850, 1000),
                         Of(LimitKind::kHost, 900, 1000)};
  const Outlook outlook = levels.Look(kSecond, readings);
  EXPECT_EQ(outlook.tightest, 1);
  EXPECT_EQ(outlook.fire, Level::k80);
  readings[1].valid = false;
  EXPECT_NE(levels.Look(2 * kSecond, readings).tightest, 1);
}

TEST(Levels, WithoutALimitThereIsNothingToSay) {
  Levels levels(300 * kSecond);
  const Reading none = {};
  const Outlook outlook = levels.Look(kSecond, {&none, 1});
  EXPECT_EQ(outlook.tightest, -1);
  EXPECT_EQ(outlook.fire, Level::kNone);
  EXPECT_EQ(outlook.time_to_limit_ns, kNever);
  EXPECT_EQ(outlook.next_look_ns, kSecond);
}

TEST(Levels, AboveTheLimitThereIsNoTimeLeft) {
  Levels levels(300 * kSecond);
  Reading reading = Of(LimitKind::kCgroup, kLimit);
  (void)levels.Look(kSecond, {&reading, 1});
  reading.used_bytes = kLimit + kMega;
  EXPECT_EQ(levels.Look(kSecond + 100 * kMillisecond, {&reading, 1}).time_to_limit_ns, 0);
}

TEST(Levels, IdleMemoryIsLookedAtSeldomAndGrowingMemoryOften) {
  Levels levels(300 * kSecond);
  const Reading idle = Of(LimitKind::kCgroup, kMega, 100'000 * kMega);
  EXPECT_EQ(levels.Look(kSecond, {&idle, 1}).next_look_ns, kSecond);
  Levels others(300 * kSecond);
  Reading reading = Of(LimitKind::kCgroup, kLimit * 7 / 10);
  (void)others.Look(kSecond, {&reading, 1});
  reading.used_bytes += 20 * kMega;
  EXPECT_LE(others.Look(kSecond + 100 * kMillisecond, {&reading, 1}).next_look_ns,
            50 * kMillisecond);
}

TEST(Levels, AFewPagesMoreNearTheLimitAreNoGrowth) {
  Levels levels(300 * kSecond);
  Reading reading = Of(LimitKind::kCgroup, kLimit * 96 / 100);
  (void)levels.Look(kSecond, {&reading, 1});
  reading.used_bytes += 8192;
  EXPECT_EQ(levels.Look(kSecond + 100 * kMillisecond, {&reading, 1}).next_look_ns,
            50 * kMillisecond);
  reading.used_bytes += kMega;
  EXPECT_EQ(levels.Look(kSecond + 200 * kMillisecond, {&reading, 1}).next_look_ns,
            10 * kMillisecond);
}

}  // namespace
}  // namespace heldby::watch
