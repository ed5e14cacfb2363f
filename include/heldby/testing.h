// heldby/testing.h - a GoogleTest test that leaves connections, tasks or labelled bytes behind
// fails, with their stacks.
//
// Threads  FailOnLeftovers(): the one that runs the tests. AllowLeftovers: any.
// Signals  unsafe.
// Self     allocations made for looking and telling are not sampled.
// Units    *_ns nanoseconds, *_bytes bytes.
// Bounds   those of heldby/leftovers.h.
// Source   docs/testing.md. Needs GoogleTest, and nothing else here does; compiled into the
//          test program, and so is about the program's own copy of it.
//
//   int main(int argc, char** argv) {
//     testing::InitGoogleTest(&argc, argv);
//     heldby::testing::FailOnLeftovers({.sample_bytes = 1});
//     return RUN_ALL_TESTS();
//   }
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "heldby/heap.h"
#include "heldby/leftovers.h"
#include "heldby/self.h"

namespace heldby::testing {

struct Options {
  bool connections = true;
  bool tasks = true;
  bool labelled_bytes = true;
  /// In every test; `*` and `?` as in heldby/leftovers.h, where each is explained.
  std::vector<Glob> ignore_names{};
  std::vector<Glob> ignore_functions{};
  std::vector<Glob> ignore_labels{};
  /// What threads of a test do not finish in this time they have left behind.
  std::int64_t wait_ns = 2'000'000'000;
  /// Mean distance between samples from now on. 1: every labelled byte is seen, for half a
  /// microsecond and a page of memory a block. 0: as it is (HELDBY_SAMPLE_BYTES), which is the
  /// better way to say 1: threads that run already take a new distance a MiB late.
  std::int64_t sample_bytes = 0;
};

/// A test in which one is made may leave behind what has such a name, or all: in its body, or
/// as a member of its fixture for all of that fixture's tests.
class AllowLeftovers {
 public:
  explicit AllowLeftovers(std::vector<Glob> names = {"*"});
};

namespace internal {

inline void Say(const std::string& text) {
  std::printf("[  heldby  ] %s\n", text.c_str());
  std::fflush(stdout);
}

class Listener : public ::testing::EmptyTestEventListener {
 public:
  /// The one at work; nullptr: none.
  static Listener*& Installed() {
    static Listener* installed = nullptr;
    return installed;
  }
  ~Listener() override {
    if (Installed() == this) Installed() = nullptr;
  }

  void SetOptions(Options options) {
    const UnsampledScope unsampled;
    options_ = {.connections = options.connections,
                .tasks = options.tasks,
                .labelled_bytes = options.labelled_bytes,
                .ignore_names = std::move(options.ignore_names),
                .ignore_functions = std::move(options.ignore_functions),
                .ignore_labels = std::move(options.ignore_labels),
                .root_functions = {"testing::*"},
                .wait_ns = options.wait_ns};
  }

  void Allow(std::vector<Glob> names) {
    const UnsampledScope unsampled;
    const std::lock_guard<std::mutex> lock(mutex_);
    for (Glob& name : names) allowed_.push_back(std::move(name));
  }

  void OnTestProgramStart(const ::testing::UnitTest&) override { TellUnseen(); }

  void OnTestStart(const ::testing::TestInfo&) override {
    const UnsampledScope unsampled;
    TellUnseen();
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      allowed_.clear();
    }
    before_.emplace();
  }

  void OnTestEnd(const ::testing::TestInfo& test) override {
    if (!before_) return;
    const UnsampledScope unsampled;
    LeftoverOptions options = options_;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      options.ignore_names.insert(options.ignore_names.end(), allowed_.begin(), allowed_.end());
    }
    // A test that has failed may have left at an ASSERT_: nobody has to wait for the rest.
    const bool has_failed = test.result()->Failed();
    if (has_failed) options.wait_ns = 0;
    const Result<Leftovers> left = LeftoversSince(*before_, options);
    before_.reset();
    if (!left) {
      // A child that a test forked, and which came back here: its parent looks.
      if (left.status().code() != StatusCode::kFailedPrecondition) Say(left.status().message());
      return;
    }
    if (left->items.empty()) {
      TellDrops(*left);
    } else if (has_failed) {
      Say("the test, which failed, has " + left->Text());
    } else {
      ADD_FAILURE_AT(test.file(), test.line()) << "The test has " << left->Text();
    }
  }

 private:
  // Again when it has changed: a test may set the sampling distance.
  void TellUnseen() {
    const UnsampledScope unsampled;
    std::vector<std::string> unseen = UnseenLeftovers(options_);
    if (unseen == unseen_) return;
    unseen_ = std::move(unseen);
    for (const std::string& sentence : unseen_) Say(sentence);
  }

  // What is unseen all the time is told when a test begins.
  void TellDrops(const Leftovers& left) {
    const std::vector<std::string> always = UnseenLeftovers(options_);
    for (const std::string& sentence : left.unseen) {
      if (std::find(always.begin(), always.end(), sentence) == always.end()) Say(sentence);
    }
  }

  LeftoverOptions options_;
  std::vector<std::string> unseen_;  // as it was told last
  std::optional<Checkpoint> before_;
  std::mutex mutex_;
  std::vector<Glob> allowed_;  // of the test that runs
};

// A thread takes a new distance at its next check, at most a MiB of allocation later.
inline void TakeSampleBytesNow() {
  for (int i = 0; i < 4; ++i) {
    void* block = std::malloc(1 << 20);
    asm volatile("" : : "r"(block) : "memory");
    std::free(block);
  }
}

}  // namespace internal

inline AllowLeftovers::AllowLeftovers(std::vector<Glob> names) {
  if (internal::Listener* listener = internal::Listener::Installed()) {
    listener->Allow(std::move(names));
  }
}

/// From now on each test that ends with things left that were not there when it began fails. A
/// second call changes the options. Also as the initialiser of a global, for programs whose
/// main() is GoogleTest's. False: `sample_bytes` could not be set, which it prints; the rest
/// works.
inline bool FailOnLeftovers(Options options = {}) {
  bool is_set = true;
  if (options.sample_bytes != 0) {
    const Status status = SetHeapSampleBytes(options.sample_bytes);
    is_set = status.ok();
    if (!is_set) internal::Say(status.message());
    internal::TakeSampleBytesNow();
  }
  const UnsampledScope unsampled;
  internal::Listener*& installed = internal::Listener::Installed();
  if (installed == nullptr) {
    installed = new internal::Listener;
    ::testing::UnitTest::GetInstance()->listeners().Append(installed);
  }
  installed->SetOptions(std::move(options));
  return is_set;
}

}  // namespace heldby::testing
