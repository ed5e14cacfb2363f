// What is there until it is given back: connections by who opened them, and profiles of the
// program's own.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "heldby/connection.h"
#include "heldby/custom_profile.h"
#include "heldby/labels.h"
#include "profile/validate.h"

namespace heldby {
namespace {

bool IsUnder(const Profile& profile, const Sample& sample, const std::string& function) {
  return std::ranges::any_of(sample.stack, [&](LocationId id) {
    const auto& lines = profile.locations[static_cast<std::size_t>(id) - 1].lines;
    return std::ranges::any_of(lines, [&](const Line& line) {
      const auto at = static_cast<std::size_t>(line.function) - 1;
      return profile.functions[at].name.find(function) != std::string::npos;
    });
  });
}

std::int64_t SumUnder(const Profile& profile, const std::string& function,
                      std::size_t column = 0) {
  std::int64_t sum = 0;
  for (const Sample& sample : profile.samples) {
    if (IsUnder(profile, sample, function)) sum += sample.values[column];
  }
  return sum;
}

std::string LabelOf(const Sample& sample, const std::string& key) {
  const auto found = std::ranges::find(sample.labels, key, &Label::key);
  return found == sample.labels.end() ? std::string() : found->text;
}

__attribute__((noinline)) Connection DialsAndForgets(int fd) {
  Connection connection(fd, Direction::kOutbound);
  asm volatile("" : : "r"(&connection) : "memory");
  return connection;
}

TEST(ConnectionProfile, CountsConnectionsByTheStackThatOpenedThem) {
  std::vector<Connection> forgotten;
  for (int i = 0; i < 200; ++i) forgotten.push_back(DialsAndForgets(-1));
  forgotten[0].SetQueuedBytes(4711);
  const auto profile = SnapshotConnectionProfile();
  ASSERT_TRUE(profile) << profile.status().message();
  EXPECT_TRUE(ValidateProfile(*profile).ok()) << ValidateProfile(*profile).message();
  const std::vector<ValueType> columns = {
      {"connections", "count"}, {"held_space", "bytes"}, {"queued_space", "bytes"}};
  EXPECT_EQ(profile->sample_types, columns);
  EXPECT_EQ(profile->default_sample_type, "connections");
  EXPECT_EQ(SumUnder(*profile, "DialsAndForgets"), 200);
  EXPECT_EQ(SumUnder(*profile, "DialsAndForgets", 2), 4711);
  EXPECT_EQ(CountConnections(), 200u);
  forgotten.clear();
  EXPECT_EQ(SumUnder(*SnapshotConnectionProfile(), "DialsAndForgets"), 0);
  EXPECT_EQ(CountConnections(), 0u);
}

TEST(ConnectionProfile, ShowsNothingThatChangesUnlessItIsAskedFor) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const ScopedLabels labels({{"route", "/dial"}});
  Connection connection = DialsAndForgets(ends[0]);
  connection.SetState("waiting");
  const auto plain = SnapshotConnectionProfile();
  ASSERT_EQ(plain->samples.size(), 1u);
  ASSERT_EQ(plain->samples[0].labels.size(), 1u);
  EXPECT_EQ(LabelOf(plain->samples[0], "route"), "/dial");
  const auto full =
      SnapshotConnectionProfile({.connection = true, .task = true, .state = true, .age = true});
  ASSERT_EQ(full->samples.size(), 1u);
  EXPECT_EQ(LabelOf(full->samples[0], "direction"), "outbound");
  EXPECT_EQ(LabelOf(full->samples[0], "state"), "waiting");
  ::close(ends[0]);
  ::close(ends[1]);
}

__attribute__((noinline)) bool OpensAFile(CustomProfile* profile, const int* file) {
  const bool added = profile->Add(file);
  asm volatile("");
  return added;
}

TEST(CustomProfile, HoldsWhatWasAddedByTheStackThatAddedItUntilItIsRemoved) {
  auto files = CustomProfile::Create("test.files");
  ASSERT_TRUE(files) << files.status().message();
  std::vector<int> keys(10);
  for (const int& key : keys) EXPECT_TRUE(OpensAFile(&*files, &key));
  EXPECT_FALSE(OpensAFile(&*files, &keys[3])) << "it is in it already";
  EXPECT_TRUE(files->Remove(&keys[0]));
  EXPECT_FALSE(files->Remove(&keys[0]));
  EXPECT_EQ(files->Count(), 9u);
  const auto profile = SnapshotCustomProfile("test.files");
  ASSERT_TRUE(profile);
  EXPECT_TRUE(ValidateProfile(*profile).ok()) << ValidateProfile(*profile).message();
  EXPECT_EQ(profile->sample_types, (std::vector<ValueType>{{"test.files", "count"}}));
  EXPECT_EQ(SumUnder(*profile, "OpensAFile"), 9);
  EXPECT_EQ(CountCustomProfile("test.files"), 9u);
}

TEST(CustomProfile, ANameIsTakenOnceAndFitsIntoAPath) {
  ASSERT_TRUE(CustomProfile::Create("test.once"));
  EXPECT_EQ(CustomProfile::Create("test.once").status().code(),
            StatusCode::kFailedPrecondition);
  EXPECT_EQ(CustomProfile::Create("heap").status().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(SnapshotCustomProfile("heap").status().code(), StatusCode::kNotFound);
  for (const std::string& bad :
       {std::string(), std::string("a/b"), std::string("a b"), std::string("a\n"),
        std::string("a-b"), std::string(65, 'a')}) {
    const auto made = CustomProfile::Create(bad);
    EXPECT_EQ(made.status().code(), StatusCode::kInvalidArgument) << bad;
    EXPECT_NE(made.status().message().find("accepted:"), std::string::npos);
  }
  const auto names = CustomProfileNames();
  EXPECT_NE(std::ranges::find(names, "test.once"), names.end());
  EXPECT_TRUE(std::ranges::is_sorted(names));
}

TEST(CustomProfile, IsBoundedAndSaysWhatItLeftOut) {
  auto many = CustomProfile::Create("test.many");
  ASSERT_TRUE(many);
  for (std::uintptr_t i = 1; i <= 100'000; ++i) many->Add(reinterpret_cast<void*>(i));
  EXPECT_FALSE(many->Add(reinterpret_cast<void*>(200'000)));
  EXPECT_EQ(many->Count(), 100'000u);
  const auto profile = SnapshotCustomProfile("test.many");
  ASSERT_EQ(profile->comments.size(), 1u);
  EXPECT_NE(profile->comments[0].find("1 calls of Add() left out"), std::string::npos);
}

TEST(CustomProfile, AChildOfAForkInTheMiddleOfItGoesOn) {
  auto busy = CustomProfile::Create("test.busy");
  ASSERT_TRUE(busy);
  std::atomic<bool> stop{false};
  std::thread worker([&] {
    int key = 0;
    while (!stop) {
      busy->Add(&key);
      busy->Remove(&key);
    }
  });
  for (int i = 0; i < 50; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::alarm(20);  // a lock that nobody gives back would hold it for ever
      int key = 0;
      ::_exit(busy->Add(&key) && CountCustomProfile("test.busy") != 0 ? 0 : 1);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_EQ(status, 0);
  }
  stop = true;
  worker.join();
}

}  // namespace
}  // namespace heldby
