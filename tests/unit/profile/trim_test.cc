#include "profile/trim.h"

#include <gtest/gtest.h>

#include <regex>
#include <string>
#include <string_view>
#include <vector>

#include "profile/builder.h"
#include "profile/drop_frames.h"
#include "profile/validate.h"

namespace heldby {
namespace {

// A stack is a list of locations, a location a list of function names, innermost first.
using Stack = std::vector<std::vector<std::string>>;

class Heap {
 public:
  Heap() : builder_(std::vector<ValueType>{{"inuse_space", "bytes"}}) {
    builder_.AddMapping(
        {.start = 0x1000, .limit = 0x100000, .filename = "/bin/app", .has_functions = true});
  }
  // Equal locations get equal addresses.
  void Add(const Stack& stack, std::int64_t bytes) {
    std::vector<LocationId> ids;
    for (const std::vector<std::string>& names : stack) {
      std::vector<Line> lines;
      std::size_t address = 0x1000;
      for (const std::string& name : names) {
        lines.push_back({.function = builder_.AddFunction(name), .line = 7});
        for (const char c : name)
          address = (address * 31 + static_cast<unsigned char>(c)) % 0xf0000;
      }
      ids.push_back(builder_.AddLocation(MappingId{1}, 0x1000 + address, lines));
    }
    builder_.AddSample(ids, {{bytes}});
  }
  Profile Trimmed(void (*trim)(Profile*) = &TrimAllocationFrames) {
    builder_.header().time_ns = 1;
    builder_.header().period_type = {"space", "bytes"};
    builder_.header().period = 1;
    Profile profile = std::move(builder_).Build();
    trim(&profile);
    return profile;
  }

 private:
  ProfileBuilder builder_;
};

Stack StackOf(const Profile& profile, std::size_t sample) {
  Stack stack;
  for (const LocationId id : profile.samples[sample].stack) {
    stack.emplace_back();
    for (const Line& line : profile.locations[static_cast<std::size_t>(id) - 1].lines) {
      stack.back().push_back(
          profile.functions[static_cast<std::size_t>(line.function) - 1].name);
    }
  }
  return stack;
}

TEST(TrimAllocationFrames, AStackBeginsWithTheCodeThatAskedForMemory) {
  Heap heap;
  heap.Add(
      {{"operator new(unsigned long)"},
       {"std::__new_allocator<char>::allocate(unsigned long, void const*)",
        "std::vector<char, std::allocator<char> >::vector(unsigned long)", "File::ReadWhole()"},
       {"main"}},
      100);
  const Profile profile = heap.Trimmed();
  ASSERT_EQ(profile.samples.size(), 1u);
  EXPECT_EQ(StackOf(profile, 0), (Stack{{"File::ReadWhole()"}, {"main"}}));
}

TEST(TrimAllocationFrames, OurIntegrationHeadersAreNotTheProgram) {
  Heap heap;
  heap.Add(
      {{"heldby::asio::detail::SocketLink::Open(int, heldby::Direction)",
        "auto heldby::asio::tracked<Stream>::connect<Endpoint>(Endpoint const&)", "Dial()"},
       {"main"}},
      1);
  EXPECT_EQ(StackOf(heap.Trimmed(), 0), (Stack{{"Dial()"}, {"main"}}));
}

TEST(TrimAllocationFrames, AHostsOwnAllocatorStays) {
  Heap heap;
  heap.Add({{"malloc"},
            {"Pool::allocate(unsigned long)"},
            {"std::allocator_traits<Pool>::allocate(Pool&, unsigned long)", "Table::Grow()"}},
           1);
  EXPECT_EQ(StackOf(heap.Trimmed(), 0)[0],
            std::vector<std::string>{"Pool::allocate(unsigned long)"});
}

TEST(TrimAllocationFrames, AHostsFunctionMayBeginLikeAnAllocators) {
  Heap heap;
  heap.Add({{"tc_malloc"}, {"tc_config_load"}, {"main"}}, 1);
  heap.Add({{"tc_newarray_aligned_nothrow"}, {"tc_new_game()"}, {"main"}}, 1);
  const Profile profile = heap.Trimmed();
  EXPECT_EQ(StackOf(profile, 0), (Stack{{"tc_config_load"}, {"main"}}));
  EXPECT_EQ(StackOf(profile, 1), (Stack{{"tc_new_game()"}, {"main"}}));
}

// Matched as pprof does: whole names.
TEST(DropFrames, ThePatternOfOurHeapProfilesHidesTheAllocatorsAndNoHostsFunction) {
  const std::regex ours(AllocationEntriesPattern());
  const std::regex others{std::string(kHeapDropFrames)};
  for (const std::string_view entry : kAllocationEntries) {
    EXPECT_TRUE(std::regex_match(std::string(entry), ours)) << entry;
    EXPECT_TRUE(std::regex_match(std::string(entry), others)) << entry;
  }
  for (const char* name : {"tc_config_load", "tc_malloc_config", "tc_new_game", "tc_newarrays",
                           "tc_", "operator news", "mallocator"}) {
    EXPECT_FALSE(std::regex_match(name, ours)) << name;
    EXPECT_FALSE(std::regex_match(name, others)) << name;
  }
}

TEST(TrimAllocationFrames, FramesOfStdFurtherDownStay) {
  Heap heap;
  heap.Add({{"Leaf()"}, {"std::function<void ()>::operator()() const", "Caller()"}}, 1);
  EXPECT_EQ(StackOf(heap.Trimmed(), 0).size(), 2u);
  Heap again;
  again.Add({{"Leaf()"}, {"std::thread::_Invoker<int>::_M_invoke()"}}, 1);
  EXPECT_EQ(StackOf(again.Trimmed(), 0).size(), 2u);
}

TEST(TrimAllocationFrames, AStackOfNothingElseIsLeftWhole) {
  Heap heap;
  heap.Add({{"malloc"}, {"std::locale::locale()"}}, 1);
  EXPECT_EQ(StackOf(heap.Trimmed(), 0), (Stack{{"malloc"}, {"std::locale::locale()"}}));
}

TEST(TrimAllocationFrames, SamplesThatBecomeEqualAreOne) {
  Heap heap;
  heap.Add({{"std::string::append(char const*)"}, {"Build()"}}, 10);
  heap.Add({{"std::string::_M_create(unsigned long)"}, {"Build()"}}, 5);
  const Profile profile = heap.Trimmed();
  ASSERT_EQ(profile.samples.size(), 1u);
  EXPECT_EQ(profile.samples[0].values[0], 15);
}

// Scrapers identify frames by address: an address that is cut in one stack is cut in all.
TEST(TrimAllocationFrames, EveryAddressKeepsOneMeaning) {
  Heap heap;
  const std::vector<std::string> wrapped = {"std::function<void ()>::operator()() const",
                                            "Caller()"};
  heap.Add({{"malloc"}, wrapped}, 1);
  heap.Add({{"Callback()"}, wrapped}, 1);
  const Profile profile = heap.Trimmed();
  const Status valid = ValidateProfile(profile);
  EXPECT_TRUE(valid.ok()) << valid.message();
  EXPECT_EQ(StackOf(profile, 1), (Stack{{"Callback()"}, {"Caller()"}}));
}

TEST(TrimAllocationFrames, FramesWithoutNamesStay) {
  Heap heap;
  heap.Add({{}, {"main"}}, 1);
  EXPECT_EQ(StackOf(heap.Trimmed(), 0).size(), 2u);
}

TEST(TrimLockFrames, AStackBeginsWithTheCodeThatLocks) {
  Heap waits;
  const Stack leaves[] = {
      {{"__gthread_mutex_lock(pthread_mutex_t*)", "std::mutex::lock()",
        "std::lock_guard<std::mutex>::lock_guard(std::mutex&)", "app::Serve()"}},
      {{"std::condition_variable::wait(std::unique_lock<std::mutex>&)"}, {"app::Serve()"}},
      {{"absl::debian3::Mutex::UnlockSlow(absl::debian3::base_internal::SynchWaitParams*)"},
       {"absl::debian3::Mutex::Unlock()"},
       {"absl::debian3::MutexLock::~MutexLock()", "app::Serve()"}},
      {{"heldby::absl_mutex::OnContention(long)"},
       {"absl::lts_20230125::Mutex::Unlock()"},
       {"app::Serve()"}},
      {{"app::Serve()"}, {"std::thread::_State_impl<app::Serve>::_M_run()"}},
  };
  for (const Stack& leaf : leaves) waits.Add(leaf, 1);
  const Profile profile = waits.Trimmed(&TrimLockFrames);
  for (const Sample& sample : profile.samples) {
    const Location& location = profile.locations[static_cast<std::size_t>(sample.stack[0]) - 1];
    ASSERT_FALSE(location.lines.empty());
    EXPECT_EQ(profile.functions[static_cast<std::size_t>(location.lines[0].function) - 1].name,
              "app::Serve()");
  }
}

TEST(TrimLockFrames, WhatAllocatesAndWhatAbseilElseDoesStays) {
  Heap waits;
  waits.Add({{"malloc"}, {"main"}}, 1);
  waits.Add({{"absl::debian3::StrCat()"}, {"main"}}, 2);
  const Profile profile = waits.Trimmed(&TrimLockFrames);
  EXPECT_EQ(StackOf(profile, 0)[0], std::vector<std::string>{"malloc"});
  EXPECT_EQ(StackOf(profile, 1)[0], std::vector<std::string>{"absl::debian3::StrCat()"});
}

}  // namespace
}  // namespace heldby
