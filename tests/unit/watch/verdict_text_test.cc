#include "watch/verdict_text.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>

namespace heldby::watch {
namespace {

std::string Copy() {
  static char text[kVerdictBytes];
  return {text, CopyVerdictText(std::span<char, kVerdictBytes>(text))};
}

TEST(VerdictText, TheLatestOneIsThere) {
  SetVerdictText("one\n");
  EXPECT_EQ(Copy(), "one\n");
  SetVerdictText("another, longer\n");
  EXPECT_EQ(Copy(), "another, longer\n");
  SetVerdictText("");
  EXPECT_EQ(Copy(), "");
}

TEST(VerdictText, ATextThatIsTooLongIsCutAtALine) {
  std::string text;
  while (text.size() <= kVerdictBytes) text += "a line of some length\n";
  SetVerdictText(text);
  const std::string copy = Copy();
  EXPECT_EQ(copy, text.substr(0, copy.size()));
  EXPECT_TRUE(copy.ends_with("\n"));
  EXPECT_GT(copy.size(), kVerdictBytes - 100);
}

TEST(VerdictText, ACopyBesideWritesIsWholeOrNone) {
  std::atomic<bool> over{false};
  SetVerdictText("start\n");
  std::thread writer([&over] {
    for (int i = 0; !over.load(); ++i) {
      SetVerdictText(std::string(static_cast<std::size_t>(100 + i % 7000),
                                 static_cast<char>('a' + i % 26)));
    }
  });
  int whole = 0;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (whole < 1000 && std::chrono::steady_clock::now() < deadline) {
    const std::string copy = Copy();
    if (copy.empty() || copy == "start\n") continue;
    ++whole;
    ASSERT_EQ(copy.find_first_not_of(copy[0]), std::string::npos);
  }
  over.store(true);
  writer.join();
  EXPECT_EQ(whole, 1000);
}

}  // namespace
}  // namespace heldby::watch
