#include "profile/wait_reason.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "profile/builder.h"

namespace heldby {
namespace {

std::string StateOf(const std::vector<std::string>& names, std::string state = "futex") {
  ProfileBuilder builder(std::vector<ValueType>{{"goroutine", "count"}});
  std::vector<LocationId> stack;
  for (const std::string& name : names) {
    stack.push_back(builder.AddLocation(MappingId::kNone, 0x1000 + 16 * stack.size(),
                                        {{.function = builder.AddFunction(name)}}));
  }
  builder.AddSample(stack, {{1}}, {{.key = "state", .text = std::move(state)}});
  Profile profile = std::move(builder).Build();
  NameFutexWaits(&profile);
  return profile.samples[0].labels[0].text;
}

TEST(NameFutexWaits, TheFramesOfTheThreadsLibrarySayWhatItIs) {
  EXPECT_EQ(StateOf({"__futex_abstimed_wait_common64", "__pthread_cond_wait_common",
                     "pthread_cond_wait", "Worker"}),
            "condition");
  EXPECT_EQ(StateOf({"__lll_lock_wait", "pthread_mutex_lock", "Worker"}), "mutex");
  EXPECT_EQ(StateOf({"__futex_abstimed_wait_common64", "__pthread_clockjoin_ex", "main"}),
            "join");
  EXPECT_EQ(StateOf({"__futex_abstimed_wait_common64", "__new_sem_wait_slow64", "Worker"}),
            "semaphore");
}

TEST(NameFutexWaits, WhatNobodyKnowsStaysAFutex) {
  EXPECT_EQ(StateOf({"syscall", "MyLock", "Worker"}), "futex");
  EXPECT_EQ(StateOf({}), "futex");
  EXPECT_EQ(StateOf({"syscall", "a", "b", "c", "d", "e", "f", "pthread_join"}), "futex")
      << "far from the leaf it says nothing about this wait";
}

TEST(NameFutexWaits, OtherStatesStay) {
  EXPECT_EQ(StateOf({"pthread_cond_wait"}, "running"), "running");
  EXPECT_EQ(StateOf({"pthread_cond_wait"}, "read, fd 7"), "read, fd 7");
}

}  // namespace
}  // namespace heldby
