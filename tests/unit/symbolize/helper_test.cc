#include "symbolize/helper_process.h"

#include <dirent.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "subject.h"

namespace heldby::symbolize {
namespace {

std::uint64_t Here() { return reinterpret_cast<std::uint64_t>(&Here) + 4; }

std::size_t OpenFds() {
  const std::filesystem::directory_iterator fds("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(fds), end(fds)));
}

std::atomic<int> signals_seen{0};

TEST(Helper, TheHostSeesNeitherASignalNorAChildNorADescriptor) {
  struct sigaction count {
  }, before{};
  count.sa_handler = [](int) { ++signals_seen; };
  sigaction(SIGCHLD, &count, &before);
  std::atomic<bool> stop{false};
  std::atomic<int> reaped{0};
  std::atomic<int> waits{0};
  std::thread reaper([&] {
    while (!stop) {
      if (waitpid(-1, nullptr, WNOHANG) >= 0) ++reaped;
      ++waits;
    }
  });
  const std::size_t fds = OpenFds();
  for (int i = 0; i < 5; ++i) {
    Symbolizer symbolizer(WithHelper());
    Profile profile = BareProfile({Here()});
    symbolizer.Symbolize(&profile);
    EXPECT_EQ(symbolizer.stats().helper_failures_total, 0u);
    EXPECT_NE(profile.locations[0].lines[0].line, 0);
  }
  EXPECT_EQ(OpenFds(), fds);
  stop = true;
  reaper.join();
  sigaction(SIGCHLD, &before, nullptr);
  EXPECT_EQ(signals_seen, 0);
  EXPECT_EQ(reaped, 0);
  EXPECT_GT(waits, 100);
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG | __WALL), -1) << "a child was left";
}

void ExpectNamesOnly(const std::string& helper, int timeout_ms) {
  Symbolizer::Options options;
  options.helper_path = helper;
  options.timeout_ms = timeout_ms;
  Symbolizer symbolizer(options);
  Profile profile = BareProfile({Here()});
  symbolizer.Symbolize(&profile);
  EXPECT_EQ(symbolizer.stats().helper_runs_total, 1u);
  EXPECT_EQ(symbolizer.stats().helper_failures_total, 1u);
  EXPECT_NE(NamesAt(profile, 0).back().find("Here()"), std::string::npos);
  EXPECT_EQ(profile.locations[0].lines[0].line, 0);
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG | __WALL), -1) << "a child was left";
}

TEST(Helper, AMissingOneLeavesNames) { ExpectNamesOnly("/nowhere/heldby-symbolizer", 10'000); }
TEST(Helper, ADyingOneLeavesNames) { ExpectNamesOnly("/bin/false", 10'000); }
TEST(Helper, OneThatTalksNonsenseLeavesNames) { ExpectNamesOnly("/bin/cat", 10'000); }

// A program of our own in the helper's place.
class Script {
 public:
  explicit Script(const std::string& body)
      : path_(testing::TempDir() + "heldby_helper_" + std::to_string(getpid()) + ".sh") {
    Write(body);
  }
  ~Script() { std::filesystem::remove(path_); }
  void Write(const std::string& body) {
    std::filesystem::remove(path_);
    std::ofstream(path_) << "#!/bin/sh\n" << body << "\n";
    std::filesystem::permissions(path_, std::filesystem::perms::owner_all);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

TEST(Helper, ASlowOneIsKilledInTime) {
  const Script script("exec sleep 60");
  const auto start = std::chrono::steady_clock::now();
  ExpectNamesOnly(script.path(), 300);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
}

int LineOf(Symbolizer* symbolizer, std::uint64_t address) {
  Profile profile = BareProfile({address});
  symbolizer->Symbolize(&profile);
  return static_cast<int>(profile.locations[0].lines.back().line);
}

TEST(Helper, OneThatFailedRestsInsteadOfCostingItsTimeAtEveryProfile) {
  const Script script("exec sleep 60");
  Symbolizer::Options options;
  options.helper_path = script.path();
  options.timeout_ms = 300;
  Symbolizer symbolizer(options);
  for (int i = 0; i < 5; ++i) {
    Profile profile = BareProfile({Here(), Here() + 1});
    symbolizer.Symbolize(&profile);
    EXPECT_NE(NamesAt(profile, 0).back().find("Here()"), std::string::npos);
  }
  EXPECT_EQ(symbolizer.stats().helper_runs_total, 1u);
  EXPECT_EQ(symbolizer.stats().helper_rests_total, 4u);
  EXPECT_EQ(symbolizer.stats().cached_total, 8u) << "the names of the first are kept";
}

TEST(Helper, TheRestDoublesWithEachFailureInARowUpToItsLimit) {
  Symbolizer::Options options;
  options.helper_path = "/bin/false";
  options.rest_ms = 100;
  options.max_rest_ms = 400;
  Symbolizer symbolizer(options);
  const auto runs_within = [&](std::chrono::milliseconds time) {
    const std::uint64_t before = symbolizer.stats().helper_runs_total;
    const auto end = std::chrono::steady_clock::now() + time;
    while (std::chrono::steady_clock::now() < end) {
      LineOf(&symbolizer, Here());
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return symbolizer.stats().helper_runs_total - before;
  };
  // Runs at 0, 100, 300, 700, 1100, 1500 ms and then every 400; every 100 ms would be 16.
  const std::uint64_t runs = runs_within(std::chrono::milliseconds(1600));
  EXPECT_GE(runs, 4u);
  EXPECT_LE(runs, 6u);
}

TEST(Helper, WhenItIsBackLinesComeAgain) {
  Script script("exit 1");
  Symbolizer::Options options;
  options.helper_path = script.path();
  options.rest_ms = 50;
  Symbolizer symbolizer(options);
  EXPECT_EQ(LineOf(&symbolizer, Here()), 0);
  script.Write(std::string("exec ") + HELDBY_SYMBOLIZER);
  std::this_thread::sleep_for(std::chrono::milliseconds(60));
  EXPECT_NE(LineOf(&symbolizer, Here()), 0) << "a name in the cache does not stand in its way";
}

TEST(Helper, WhatItAnsweredBeforeItDiedIsKept) {
  // The real answer, and then the end of one that dies.
  const Script script(std::string(HELDBY_SYMBOLIZER) + "; exit 1");
  Symbolizer::Options options;
  options.helper_path = script.path();
  Symbolizer symbolizer(options);
  const int line = LineOf(&symbolizer, Here());
  EXPECT_NE(line, 0);
  EXPECT_EQ(LineOf(&symbolizer, Here()), line);
  EXPECT_EQ(symbolizer.stats().helper_failures_total, 1u);
  EXPECT_EQ(symbolizer.stats().cached_total, 1u);
}

TEST(Helper, WorksWhenTheHostIgnoresSigchld) {
  struct sigaction ignore {
  }, before{};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGCHLD, &ignore, &before);
  Symbolizer symbolizer(WithHelper());
  Profile profile = BareProfile({Here()});
  symbolizer.Symbolize(&profile);
  sigaction(SIGCHLD, &before, nullptr);
  EXPECT_EQ(symbolizer.stats().helper_failures_total, 0u);
}

}  // namespace
}  // namespace heldby::symbolize
