// heldby/testing.h, tried on a program whose tests leave things behind: what that program says.
// What is left stays for ever, so no figure here depends on time; what goes gets a minute.
#include <gtest/gtest.h>
#include <stdio.h>
#include <sys/wait.h>

#include <string>
#include <utility>
#include <vector>

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSeesBytes = false;  // the hooks stand down
#else
constexpr bool kSeesBytes = true;
#endif

struct Report {
  int status = -1;
  std::string out;

  bool Says(const std::string& text) const { return out.find(text) != std::string::npos; }
  int Count(const std::string& text) const {
    int count = 0;
    for (auto at = out.find(text); at != std::string::npos; at = out.find(text, at + 1))
      ++count;
    return count;
  }
};

Report RunTests(const std::string& filter, const std::string& arguments = "--wait-ms=20") {
  Report run;
  const std::string command = std::string(HELDBY_LEAVING_TESTS) + " --gtest_color=no '" +
                              "--gtest_filter=" + filter + "' " + arguments + " 2>&1";
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return run;
  char piece[4096];
  while (const std::size_t count = fread(piece, 1, sizeof(piece), pipe)) {
    run.out.append(piece, count);
  }
  const int status = pclose(pipe);
  run.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return run;
}

void ExpectFails(const std::string& test, const std::vector<std::string>& says) {
  const Report run = RunTests(test);
  EXPECT_EQ(run.status, 1) << run.out;
  EXPECT_EQ(run.Count("The test has left behind:"), 1) << run.out;
  EXPECT_TRUE(run.Says("1 FAILED TEST")) << run.out;
  for (const std::string& text : says) {
    EXPECT_TRUE(run.Says(text)) << "not there: " << text << "\n" << run.out;
  }
}

TEST(Listener, AConnectionLeftBehindFailsTheTestWithTheStackThatOpenedIt) {
  ExpectFails("Leaves.AConnection",
              {"1 connection: outbound, waiting for a reply\n", "    service::OpenUpstream  ",
               "leaving.h:", "Leaves_AConnection_Test::TestBody  ",
               "leaving_tests.cc:", ".ignore_names = {\"outbound\"}",
               ".ignore_functions = {\"service::OpenUpstream\"}"});
}

TEST(Listener, ATaskLeftBehindFailsTheTestWithTheStackThatMadeItAndItsState) {
  ExpectFails("Leaves.ATask", {"1 task: thumbnail, queued (", "    service::QueueJob  ",
                               "Leaves_ATask_Test::TestBody  ", "{\"thumbnail\"}"});
}

TEST(Listener, TheFailureStandsAtTheTest) {
  ExpectFails("Leaves.ATask", {"leaving_tests.cc:", ": Failure\nFailed\nThe test has left"});
}

TEST(Listener, StacksEndWhereTheFrameworkBegins) {
  const Report run = RunTests("Leaves.ATask");
  EXPECT_FALSE(run.Says("    testing::")) << run.out;
  EXPECT_FALSE(run.Says("    main")) << run.out;
}

TEST(Listener, TasksThatAreAlikeAreOneLine) {
  ExpectFails("Leaves.FiveTasksOfOneKind", {"5 tasks: thumbnail"});
}

TEST(Listener, LabelledBytesLeftBehindFailTheTestWithTheStackThatAllocatedThem) {
  if (!kSeesBytes) GTEST_SKIP() << "the hooks stand down under a sanitizer";
  ExpectFails("Leaves.LabelledBytes",
              {"30000 bytes in 1 block, with route=/download\n", "    service::FillBuffer  ",
               "    service::FillRouteCache  ", ".ignore_labels = {\"route=/download\"}"});
}

TEST(Listener, BytesOfATaskOrAConnectionThatEndedAreTold) {
  if (!kSeesBytes) GTEST_SKIP() << "the hooks stand down under a sanitizer";
  ExpectFails("Leaves.BytesOfATaskThatEnded",
              {"20000 bytes in 1 block, allocated for import\n"});
  ExpectFails("Leaves.BytesOfAConnectionThatEnded",
              {"10000 bytes in 1 block, allocated for reader\n"});
}

TEST(Listener, AThreadIsALeftoverIfItIsATask) {
  ExpectFails("Leaves.AThreadThatIsATask", {"1 task: flusher, running\n"});
}

TEST(Listener, ACoroutineLeftBehindSaysWhatItWaitsIn) {
  ExpectFails("Leaves.ACoroutineThatWaits", {"1 task: poller", "waits in\n", "WaitForEver"});
}

TEST(Listener, ATestThatFailedAnywayIsToldAndNotFailedAgain) {
  for (const char* test : {"Leaves.AConnectionAndFails", "Leaves.AConnectionAndThrows"}) {
    const Report run = RunTests(test, "--wait-ms=600000");  // and nobody waits
    EXPECT_EQ(run.status, 1) << run.out;
    EXPECT_EQ(run.Count("a reason of its own"), 1) << run.out;
    EXPECT_EQ(run.Count("The test has"), 0) << run.out;
    EXPECT_TRUE(run.Says("[  heldby  ] the test, which failed, has left behind:")) << run.out;
    EXPECT_TRUE(run.Says("service::OpenUpstream")) << run.out;
  }
}

TEST(Listener, ASkippedTestFailsForWhatItLeaves) {
  ExpectFails("Leaves.AConnectionAndSkips", {"service::OpenUpstream"});
}

TEST(Listener, WhatSetUpLeavesIsTheTests) {
  ExpectFails("LeavesInSetUp.AConnection", {"service::OpenUpstream", "LeavesInSetUp::SetUp"});
}

TEST(Listener, ATypedOrAParameterisedTestFailsAloneAmongItsSiblings) {
  for (const char* tests : {"LeavesTyped*", "*LeavesByParameter*"}) {
    const Report run = RunTests(tests);
    EXPECT_EQ(run.Count("The test has left behind:"), 1) << run.out;
    EXPECT_TRUE(run.Says("1 FAILED TEST")) << run.out;
    EXPECT_TRUE(run.Says("[  PASSED  ] 1 test.")) << run.out;
  }
}

TEST(Listener, ADeathTestIsToldOnce) {
  ExpectFails("LeavesDeathTest.AConnectionBesideADeath", {"service::OpenUpstream"});
  ExpectFails("LeavesDeathTest.AConnectionBesideADeathInANewProcess",
              {"service::OpenUpstream"});
}

TEST(Listener, AnAllowanceIsForWhatItNames) {
  ExpectFails("Leaves.WhatItsAllowanceDoesNotName", {"1 task: thumbnail"});
}

TEST(Listener, TestsThatLeaveNothingPass) {
  const Report run = RunTests("Clean*", "--wait-ms=60000");
  EXPECT_EQ(run.status, 0) << run.out;
  EXPECT_EQ(run.Count("left behind"), 0) << run.out;
}

TEST(Listener, EveryRepetitionIsJudgedForItselfInAnyOrder) {
  const Report run = RunTests("Leaves.ATask:Clean.What*:CleanFixture*",
                              "--wait-ms=20 --gtest_repeat=3 --gtest_shuffle");
  EXPECT_EQ(run.status, 1) << run.out;
  EXPECT_EQ(run.Count("The test has left behind:"), 3) << run.out;
  EXPECT_EQ(run.Count("[  FAILED  ] Leaves.ATask ("), 3) << run.out;
}

TEST(Listener, WhatIsNotSeenIsSaid) {
  const Report coarse = RunTests("Clean.WhatEndsInTime", "--sample-bytes=524288");
  EXPECT_EQ(coarse.status, 0) << coarse.out;
  EXPECT_TRUE(coarse.Says(kSeesBytes ? "labelled bytes are sampled, one in 524288"
                                     : "labelled bytes are not seen: "))
      << coarse.out;
  EXPECT_EQ(RunTests("Clean.WhatEndsInTime").Says("labelled bytes"), !kSeesBytes);
  const Report changed = RunTests("LeavesADistance.*");
  EXPECT_EQ(changed.Count("one in 524288"), kSeesBytes ? 1 : 0) << changed.out;
  const Report full = RunTests("LeavesNothing.*");
  EXPECT_EQ(full.status, 0) << full.out;
  EXPECT_TRUE(full.Says("connections were not recorded: table full")) << full.out;
  const Report wrong = RunTests("Clean.WhatEndsInTime", "--sample-bytes=-1");
  EXPECT_TRUE(wrong.Says("heap sampling distance is -1")) << wrong.out;
}

}  // namespace
