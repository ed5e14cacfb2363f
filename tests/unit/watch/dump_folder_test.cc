#include "watch/dump_folder.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "exporters/pprof/dump.h"
#include "profile/dump_format.h"
#include "watch/black_box.h"

namespace heldby::watch {
namespace {

// On the disk that the test was built on: /tmp may be memory.
class DumpFolderTest : public ::testing::Test {
 protected:
  DumpFolderTest() {
    char name[] = "dump_folder_test.XXXXXX";
    path_ = std::filesystem::absolute(mkdtemp(name));
    EXPECT_TRUE(folder_.Open(path_.c_str()));
  }
  ~DumpFolderTest() override { std::filesystem::remove_all(path_); }

  void Make(const std::string& name) { std::ofstream(path_ / name) << "x"; }
  void Sweep() { folder_.Sweep(buffer_); }
  std::set<std::string> Names() {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) {
      names.insert(entry.path().filename());
    }
    return names;
  }

  std::filesystem::path path_;
  DumpFolder folder_;
  char buffer_[4096];
};

TEST_F(DumpFolderTest, NamesSayWhoWhenAndWhy) {
  EXPECT_STREQ(MakeName(4711, 1795443379, ".90.heap").text,
               "heldby.4711.20261123T141619Z.90.heap");
  EXPECT_STREQ(MakeName(1, 951782400, ".box").text, "heldby.1.20000229T000000Z.box");
  EXPECT_STREQ(MakeName(1, 0, ".box").text, "heldby.1.19700101T000000Z.box");
}

TEST_F(DumpFolderTest, TheOldestDumpsGoAndWhatIsNotOursStays) {
  std::set<std::string> expected = {"heldby.1.notes.heap", "other.heap", "heldby.heap",
                                    "heldby.x.20200101T000000Z.80.heap"};
  for (const std::string& name : expected) Make(name);
  for (std::size_t i = 0; i < kMostDumps + 10; ++i) {
    const std::string name = MakeName(static_cast<std::int64_t>(1000 - i),
                                      1'000'000'000 + static_cast<std::int64_t>(i), ".80.heap")
                                 .text;
    Make(name);
    if (i >= 10) expected.insert(name);
  }
  Sweep();
  EXPECT_EQ(Names(), expected);
}

TEST_F(DumpFolderTest, DumpsThatWereCutCountAsDumps) {
  std::set<std::string> expected;
  for (std::size_t i = 0; i < kMostDumps + 10; ++i) {
    const std::string name = MakeName(7, 1'000'000'000 + static_cast<std::int64_t>(i),
                                      i % 2 == 0 ? ".80.heap" : ".80.heap.partial")
                                 .text;
    Make(name);
    if (i >= 10) expected.insert(name);
  }
  Sweep();
  EXPECT_EQ(Names(), expected);
}

TEST_F(DumpFolderTest, DumpsOfAnotherUserStayAndDoNotStandInTheWay) {
  if (geteuid() != 0) GTEST_SKIP() << "files of others can be made by root alone";
  std::set<std::string> expected;
  for (std::size_t i = 0; i < 2 * kMostDumps + 10; ++i) {
    const std::string name =
        MakeName(7, 1'000'000'000 + static_cast<std::int64_t>(i), ".80.heap").text;
    Make(name);
    const bool is_of_another = i < kMostDumps;
    if (is_of_another) {
      ASSERT_EQ(chown((path_ / name).c_str(), 65534, 65534), 0);
    }
    if (is_of_another || i >= kMostDumps + 10) expected.insert(name);
  }
  Sweep();
  EXPECT_EQ(Names(), expected);
}

TEST_F(DumpFolderTest, BoxesOfTheDeadGoAndThoseOfTheLivingStay) {
  std::vector<BlackBox> living(3);
  for (std::size_t i = 0; i < living.size(); ++i) {
    ASSERT_TRUE(living[i].Create(folder_, 7, 1000 + static_cast<std::int64_t>(i), ""));
  }
  for (std::size_t i = 0; i < kMostBoxes + 5; ++i) {
    Make(MakeName(8, 2'000'000 + static_cast<std::int64_t>(i), ".box").text);
  }
  Sweep();
  EXPECT_EQ(Names().size(), living.size() + kMostBoxes);
  for (BlackBox& box : living) {
    EXPECT_TRUE(Names().contains(box.name()));
    box.Remove(folder_);
  }
  EXPECT_EQ(Names().size(), kMostBoxes);
}

TEST_F(DumpFolderTest, TwoProcessesOfOneNumberHaveABoxEach) {
  BlackBox one;
  BlackBox other;
  ASSERT_TRUE(one.Create(folder_, 1, 1000, ""));
  ASSERT_TRUE(other.Create(folder_, 1, 1000, ""));
  EXPECT_STRNE(one.name(), other.name());
  one.Remove(folder_);
  EXPECT_EQ(Names(), std::set<std::string>{other.name()});
  other.Close();
}

TEST_F(DumpFolderTest, WhatAnExecCutShortGoesWithItsSuccessor) {
  const std::string cut = MakeName(7, 1000, ".box.partial").text;
  const std::string of_others = MakeName(8, 1000, ".box.partial").text;
  const std::string unmarked = MakeName(7, 1001, ".box").text;
  for (const std::string& name : {cut, of_others, unmarked}) Make(name);
  folder_.RemoveEarlierBox(7, "begun at", buffer_);
  EXPECT_EQ(Names(), (std::set<std::string>{of_others, unmarked}));
}

// Exec may come at any moment: whatever has the name then is known by its mark.
TEST_F(DumpFolderTest, ABoxHasItsMarkBeforeItHasItsName) {
  constexpr int kBoxes = 300;
  std::atomic<bool> is_done{false};
  std::atomic<int> seen{0};
  std::thread maker([&] {
    for (int i = 0; i < kBoxes; ++i) {
      BlackBox box;
      const bool is_made = box.Create(folder_, 7, 1000, "begun at 42 ");
      EXPECT_TRUE(is_made);
      if (!is_made) break;
      // However seldom the reader is let run: each of them is seen, most from their beginning.
      for (const int before = seen.load(); seen.load() == before;) std::this_thread::yield();
      box.Remove(folder_);
    }
    is_done.store(true);
  });
  while (!is_done.load()) {
    std::ifstream box(path_ / MakeName(7, 1000, ".box").text);
    std::string text(12, '\0');
    if (!box) continue;
    box.read(text.data(), 12);
    EXPECT_EQ(text, "begun at 42 ");
    ++seen;
  }
  maker.join();
  EXPECT_GE(seen.load(), kBoxes);
  EXPECT_TRUE(Names().empty());
}

// From now on, in this process: no rename with conditions, and no link if `links` says so.
bool RefuseAsAFileSystem(bool links) {
  constexpr auto kNumber = static_cast<std::uint32_t>(offsetof(seccomp_data, nr));
  constexpr auto kFlags = static_cast<std::uint32_t>(offsetof(seccomp_data, args[4]));
  const std::uint32_t link_error = links ? SECCOMP_RET_ERRNO | EPERM : SECCOMP_RET_ALLOW;
  sock_filter steps[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kNumber),
                         BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_linkat, 0, 1),
                         BPF_STMT(BPF_RET | BPF_K, link_error),
                         BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_renameat2, 0, 3),
                         BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kFlags),
                         BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0),
                         BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
                         BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  const sock_fprog program = {static_cast<unsigned short>(std::size(steps)), steps};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

TEST_F(DumpFolderTest, ABoxIsMadeWhereAFileSystemKnowsNoConditionsAndNoLinks) {
  for (const bool links_refused : {false, true}) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      if (!RefuseAsAFileSystem(links_refused)) _exit(2);
      BlackBox one;
      BlackBox other;
      const bool are_made =
          one.Create(folder_, 1, 1000, "") && other.Create(folder_, 1, 1000, "");
      const bool are_two = Names() == std::set<std::string>{MakeName(1, 1000, ".box").text,
                                                            MakeName(1, 1001, ".box").text};
      one.Remove(folder_);
      other.Remove(folder_);
      _exit(are_made && are_two && Names().empty() ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0)
        << status << ", links refused: " << links_refused;
  }
}

TEST_F(DumpFolderTest, ABoxThatSomebodyTookAwayIsAFailure) {
  BlackBox box;
  ASSERT_TRUE(box.Create(folder_, 1, 1000, ""));
  EXPECT_TRUE(box.Publish(0));
  std::filesystem::remove(path_ / box.name());
  EXPECT_FALSE(box.Publish(0));
  EXPECT_EQ(errno, ENOENT);
}

TEST_F(DumpFolderTest, AnotherFileInThePlaceOfABoxStays) {
  BlackBox box;
  ASSERT_TRUE(box.Create(folder_, 1, 1000, ""));
  const std::string name = box.name();
  std::filesystem::remove(path_ / name);
  Make(name);
  box.Remove(folder_);
  EXPECT_EQ(Names(), std::set<std::string>{name});
}

// No file of this process becomes longer, as after `ulimit -f`.
class ShortFiles {
 public:
  explicit ShortFiles(rlim_t bytes) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit = {bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~ShortFiles() { setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_{};
};

TEST_F(DumpFolderTest, ABoxThatMayNotBeWrittenIsAnErrorAndNoSignal) {
  BlackBox box;
  const ShortFiles limit(dump::kBoxHalfBytes);
  EXPECT_FALSE(box.Create(folder_, 1, 1000, ""));
  EXPECT_EQ(errno, EFBIG);
  EXPECT_TRUE(Names().empty());
}

TEST_F(DumpFolderTest, AWriteThatFailsLeavesTheHalfThatIsWhole) {
  BlackBox box;
  ASSERT_TRUE(box.Create(folder_, 1, 1000, ""));
  const auto publish = [&box](std::string_view text) {
    text.copy(box.text(), text.size());
    return box.Publish(text.size());
  };
  ASSERT_TRUE(publish("heldby dump 1 first\n"));
  signal(SIGXFSZ, SIG_IGN);
  {
    const ShortFiles limit(dump::kBoxHalfBytes + 40);
    EXPECT_FALSE(publish("heldby dump 1 second\n"));
  }
  {
    const ShortFiles limit(40);
    EXPECT_FALSE(publish("heldby dump 1 third\n"));
  }
  signal(SIGXFSZ, SIG_DFL);
  const auto latest = [&] {
    std::ifstream file(path_ / box.name(), std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    const Result<std::string_view> text = DumpSummary(bytes);
    return std::string(text.ok() ? *text : text.status().message());
  };
  EXPECT_EQ(latest(), "heldby dump 1 first\n");
  EXPECT_TRUE(publish("heldby dump 1 fourth\n"));
  EXPECT_EQ(latest(), "heldby dump 1 fourth\n");
}

TEST_F(DumpFolderTest, AShortDiskIsRefusedAndAFolderInMemoryToo) {
  std::int64_t free_bytes = 0;
  EXPECT_EQ(folder_.Examine(1, &free_bytes), Refusal::kNone);
  EXPECT_EQ(folder_.Examine(free_bytes + (std::int64_t{1} << 40), &free_bytes),
            Refusal::kShortDisk);
  DumpFolder memory;
  ASSERT_TRUE(memory.Open("/dev/shm"));
  EXPECT_EQ(memory.Examine(1, &free_bytes), Refusal::kMemoryFile);
}

}  // namespace
}  // namespace heldby::watch
