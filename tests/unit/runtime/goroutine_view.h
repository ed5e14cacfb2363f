// What the tests of goroutine profiles share: rows of a profile, and threads that wait.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "heldby/goroutine.h"
#include "profile/validate.h"

namespace heldby {

inline std::map<std::string, std::string> LabelsOf(const Sample& sample) {
  std::map<std::string, std::string> labels;
  for (const Label& label : sample.labels) {
    labels[label.key] = label.text.empty() ? std::to_string(label.number) : label.text;
  }
  return labels;
}

// "Innermost < ... < outermost", by names.
inline std::string StackOf(const Profile& profile, const Sample& sample) {
  std::string text;
  for (const LocationId id : sample.stack) {
    for (const Line& line : profile.locations[static_cast<std::size_t>(id) - 1].lines) {
      text += (text.empty() ? "" : " < ") +
              profile.functions[static_cast<std::size_t>(line.function) - 1].name;
    }
  }
  return text;
}

struct Row {
  std::map<std::string, std::string> labels;
  std::string stack;
};

inline std::vector<Row> Each() {
  const auto profile = SnapshotGoroutines({.each = true});
  EXPECT_TRUE(profile) << profile.status().message();
  EXPECT_TRUE(ValidateProfile(*profile).ok()) << ValidateProfile(*profile).message();
  std::vector<Row> rows;
  for (const Sample& sample : profile->samples) {
    rows.push_back({LabelsOf(sample), StackOf(*profile, sample)});
  }
  return rows;
}

inline Row RowOf(std::int32_t tid) {
  for (Row& row : Each()) {
    if (row.labels["goroutine"] == std::to_string(tid) && row.labels.contains("thread")) {
      return row;
    }
  }
  return {};
}

// A thread in `wait`, until `wake` ends it. It has arrived when the kernel says it sleeps.
class Thread {
 public:
  Thread(std::function<void()> wait, std::function<void()> wake)
      : wake_(std::move(wake)), thread_([this, wait = std::move(wait)] {
          tid_ = static_cast<std::int32_t>(syscall(SYS_gettid));
          WaitsInHere(wait);
        }) {
    while (tid_ == 0) std::this_thread::yield();
  }
  ~Thread() {
    if (wake_) wake_();
    thread_.join();
  }
  std::int32_t tid() const { return tid_; }

  // Once it waits in `state`.
  Row Parked(const std::string& state) const {
    Row row;
    for (int i = 0; i < 2000; ++i) {
      row = RowOf(tid_);
      if (row.labels["state"].starts_with(state)) break;
      usleep(1000);
    }
    return row;
  }

 private:
  __attribute__((noinline)) static void WaitsInHere(const std::function<void()>& wait) {
    wait();
    asm volatile("");
  }
  std::function<void()> wake_;
  std::atomic<std::int32_t> tid_{0};
  std::thread thread_;
};

class Pipe {
 public:
  Pipe() { EXPECT_EQ(::pipe2(fds_, O_CLOEXEC), 0); }
  ~Pipe() {
    ::close(fds_[0]);
    ::close(fds_[1]);
  }
  int reader() const { return fds_[0]; }
  void Wake() const { EXPECT_EQ(::write(fds_[1], "x", 1), 1); }

 private:
  int fds_[2];
};

}  // namespace heldby
