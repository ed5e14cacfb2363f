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

TEST(Helper, ASlowOneIsKilledInTime) {
  const std::string path =
      testing::TempDir() + "heldby_slow_" + std::to_string(getpid()) + ".sh";
  std::ofstream(path) << "#!/bin/sh\nexec sleep 60\n";
  std::filesystem::permissions(path, std::filesystem::perms::owner_all);
  const auto start = std::chrono::steady_clock::now();
  ExpectNamesOnly(path, 300);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
  std::filesystem::remove(path);
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
