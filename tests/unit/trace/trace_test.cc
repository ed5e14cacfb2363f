// What a trace says, of a program whose every step is known.
#include "heldby/trace.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "heldby/connection.h"
#include "heldby/heap.h"
#include "heldby/labels.h"
#include "heldby/self.h"
#include "heldby/task.h"

namespace heldby {
namespace {

using Arguments = std::map<std::string, std::string>;

struct Life {
  std::string name;
  TraceSubject subject;
  Arguments arguments;
  std::vector<std::string> states;
  bool has_ended = false;
};
struct Piece {
  std::int32_t tid;
  std::string name;
  int depth;
  Arguments arguments;
  bool has_ended = false;
};

// A trace read as a viewer does; whatever does not nest fails the test.
class Reader {
 public:
  explicit Reader(Trace trace) : trace_(std::move(trace)) {
    std::int64_t last_ns = 0;
    for (const TraceEvent& event : trace_.events) {
      EXPECT_GE(event.time_ns, last_ns) << "in the order of time";
      EXPECT_LE(event.time_ns, trace_.duration_ns);
      last_ns = event.time_ns;
      Read(event);
    }
    for (const auto& [id, life] : lives_) EXPECT_TRUE(life.has_ended) << life.name;
    for (const Piece& run : runs_) EXPECT_TRUE(run.has_ended) << run.name;
    for (const auto& [id, ends] : flows_) EXPECT_EQ(ends.size(), 2u) << "of flow " << id;
  }

  const Trace& trace() const { return trace_; }
  std::vector<Life> Lives(const std::string& name) const {
    std::vector<Life> found;
    for (const auto& [id, life] : lives_) {
      if (life.name == name) found.push_back(life);
    }
    return found;
  }
  std::vector<Piece> Runs(const std::string& name) const {
    std::vector<Piece> found;
    std::ranges::copy_if(runs_, std::back_inserter(found),
                         [&](const Piece& run) { return run.name == name; });
    return found;
  }
  /// From which thread to which.
  std::vector<std::vector<std::int32_t>> Flows() const {
    std::vector<std::vector<std::int32_t>> flows;
    for (const auto& [id, ends] : flows_) flows.push_back(ends);
    return flows;
  }

 private:
  void Read(const TraceEvent& event) {
    const std::string& name = trace_.texts.at(event.name);
    switch (event.phase) {
      case TracePhase::kLifeBegin:
        if (open_[event.id].empty()) {
          EXPECT_FALSE(lives_.contains(event.id)) << "an id is used twice";
          lives_[event.id] = {name, event.subject, ArgumentsOf(event), {}};
        } else {
          lives_[event.id].states.push_back(name);
        }
        open_[event.id].push_back(name);
        break;
      case TracePhase::kLifeEnd:
        ASSERT_FALSE(open_[event.id].empty());
        EXPECT_EQ(open_[event.id].back(), name);
        open_[event.id].pop_back();
        lives_[event.id].has_ended = open_[event.id].empty();
        lives_[event.id].arguments.merge(ArgumentsOf(event));
        break;
      case TracePhase::kRunBegin:
        runs_.push_back(
            {event.tid, name, static_cast<int>(stacks_[event.tid].size()), ArgumentsOf(event)});
        stacks_[event.tid].push_back(runs_.size() - 1);
        break;
      case TracePhase::kRunEnd:
        ASSERT_FALSE(stacks_[event.tid].empty());
        runs_[stacks_[event.tid].back()].has_ended = true;
        stacks_[event.tid].pop_back();
        break;
      case TracePhase::kFlowOut:
      case TracePhase::kFlowIn:
        EXPECT_FALSE(stacks_[event.tid].empty()) << "an arrow from or to nothing";
        flows_[event.id].push_back(event.tid);
        break;
      case TracePhase::kMark:
        break;
    }
  }
  Arguments ArgumentsOf(const TraceEvent& event) const {
    Arguments arguments;
    for (std::uint32_t i = 0; i < event.argument_count; ++i) {
      const TraceArgument& argument = trace_.arguments.at(event.first_argument + i);
      arguments[trace_.texts.at(argument.key)] = trace_.texts.at(argument.value);
    }
    return arguments;
  }

  Trace trace_;
  std::map<std::uint64_t, Life> lives_;
  std::map<std::uint64_t, std::vector<std::string>> open_;
  std::map<std::int32_t, std::vector<std::size_t>> stacks_;
  std::vector<Piece> runs_;
  std::map<std::uint64_t, std::vector<std::int32_t>> flows_;
};

// Runs `body` while a trace is recorded, and ends it after that.
Reader TraceOf(const std::function<void()>& body) {
  std::atomic<bool> has_begun{false};
  std::atomic<bool> is_over{false};
  Result<Trace> trace = Status(StatusCode::kInternal, "not recorded");
  std::thread recorder([&] {
    BecomeProfilerThread();
    trace = RecordTrace({.duration_ns = 60'000'000'000, .cancelled = [&] {
                           has_begun = true;
                           return is_over.load();
                         }});
  });
  while (!has_begun) std::this_thread::yield();
  body();
  is_over = true;
  recorder.join();
  EXPECT_TRUE(trace) << trace.status().message();
  return Reader(trace ? *std::move(trace) : Trace());
}

template <typename Body>
void OnAThread(Body body) {
  std::thread(body).join();
}

TEST(Trace, ATaskIsBornRunsParksAndEnds) {
  const Reader trace = TraceOf([] {
    const ScopedLabels labels{{"tenant", "acme"}};
    AsyncTask task("job");
    task.SetState("IO wait: read");
    OnAThread([&task] {
      const AsyncTask::Piece piece(task);
      task.SetState("sleep");
    });
    OnAThread([&task] { const AsyncTask::Piece piece(task); });
  });
  const std::vector<Life> jobs = trace.Lives("job");
  ASSERT_EQ(jobs.size(), 1u);
  EXPECT_EQ(jobs[0].subject, TraceSubject::kTask);
  EXPECT_EQ(jobs[0].states, (std::vector<std::string>{"IO wait: read", "running", "sleep",
                                                      "running", "sleep"}));
  EXPECT_EQ(jobs[0].arguments.at("labels.tenant"), "acme");
  EXPECT_NE(jobs[0].arguments.at("made").find("trace_test.cc:"), std::string::npos);
  EXPECT_FALSE(jobs[0].arguments.contains("begin"));
  EXPECT_FALSE(jobs[0].arguments.contains("end"));
  const std::vector<Piece> runs = trace.Runs("job");
  ASSERT_EQ(runs.size(), 2u);
  EXPECT_NE(runs[0].tid, runs[1].tid);
  EXPECT_EQ(runs[0].arguments.at("labels.tenant"), "acme");
  EXPECT_EQ(trace.Runs("tenant=acme").at(0).tid, getpid()) << "labels without a task";
}

TEST(Trace, TasksOfAThreadNestAndNameTheirParent) {
  const Reader trace = TraceOf([] {
    const Task outer("outer");
    {
      const ScopedLabels labels{{"step", "one"}};
      const Task inner("inner");
    }
    const Task second("second");
  });
  EXPECT_EQ(trace.Runs("outer").at(0).depth, 0);
  EXPECT_EQ(trace.Runs("step=one").at(0).depth, 1);
  EXPECT_EQ(trace.Runs("inner").at(0).depth, 2);
  EXPECT_EQ(trace.Runs("second").at(0).depth, 1) << "the labels are over";
  const Arguments inner = trace.Lives("inner").at(0).arguments;
  EXPECT_EQ(inner.at("parent").substr(0, 6), "outer ");
  EXPECT_EQ(inner.at("labels.step"), "one");
}

TEST(Trace, AnArrowLeadsFromTheMakerToTheFirstPiece) {
  const Reader trace = TraceOf([] {
    const Task maker("maker");
    AsyncTask made("made");
    AsyncTask never_runs("never runs");
    OnAThread([&made] { const AsyncTask::Piece piece(made); });
    OnAThread([&made] { const AsyncTask::Piece piece(made); });
  });
  ASSERT_EQ(trace.Flows().size(), 1u);
  EXPECT_EQ(trace.Flows()[0][0], getpid());
  EXPECT_EQ(trace.Flows()[0][1], trace.Runs("made").at(0).tid);
}

TEST(Trace, WhatWasThereBeforeAndStaysSaysSo) {
  AsyncTask quiet("quiet");
  quiet.SetState("IO wait: accept");
  AsyncTask ends("ends");
  ends.SetState("sleep");
  AsyncTask wakes("wakes");
  wakes.SetState("IO wait: write");
  const Task current("current");
  int ends_of[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends_of), 0);
  Connection connection(ends_of[0], Direction::kInbound);
  connection.SetState("idle");
  const Reader trace = TraceOf([&] {
    ends.End();
    const AsyncTask::Piece piece(wakes);
  });
  connection.Forget();
  close(ends_of[0]);
  close(ends_of[1]);
  for (const char* name : {"quiet", "wakes", "current", "inbound connection"}) {
    ASSERT_EQ(trace.Lives(name).size(), 1u) << name;
    EXPECT_EQ(trace.Lives(name)[0].arguments.at("begin"), "before the trace") << name;
    EXPECT_EQ(trace.Lives(name)[0].arguments.at("end"), "still there when the trace ended")
        << name;
  }
  EXPECT_EQ(trace.Lives("quiet")[0].states, std::vector<std::string>{"IO wait: accept"});
  EXPECT_EQ(trace.Lives("inbound connection")[0].states, std::vector<std::string>{"idle"});
  EXPECT_EQ(trace.Lives("wakes")[0].states,
            (std::vector<std::string>{"IO wait: write", "running", "IO wait: write"}));
  ASSERT_EQ(trace.Lives("ends").size(), 1u);
  EXPECT_EQ(trace.Lives("ends")[0].arguments.at("begin"), "before the trace");
  EXPECT_FALSE(trace.Lives("ends")[0].arguments.contains("end"));
  EXPECT_EQ(trace.Runs("current").at(0).tid, getpid()) << "it ran all the time";
}

TEST(Trace, AThreadIsBornByAnotherNamesItselfAndEnds) {
  std::int32_t tid = 0;
  const Reader trace = TraceOf([&tid] {
    OnAThread([&tid] {
      pthread_setname_np(pthread_self(), "short-lived");
      tid = gettid();
    });
  });
  const std::vector<Life> threads = trace.Lives("short-lived");
  ASSERT_EQ(threads.size(), 1u);
  EXPECT_EQ(threads[0].subject, TraceSubject::kThread);
  EXPECT_EQ(threads[0].arguments.at("tid"), std::to_string(tid));
  EXPECT_TRUE(threads[0].arguments.at("created_by").ends_with(" " + std::to_string(getpid())));
  EXPECT_FALSE(threads[0].arguments.contains("end")) << "its end was an event";
  const auto& known = trace.trace().threads;
  const auto named = std::ranges::find(known, tid, &TraceThread::tid);
  ASSERT_NE(named, known.end());
  EXPECT_EQ(named->name, "short-lived");
  EXPECT_TRUE(std::ranges::none_of(known, [](const TraceThread& thread) {
    return thread.name.starts_with("heldby-");
  })) << "the profiler's own are in no trace";
}

// It was there before, so nobody tells of its end: it is looked for.
TEST(Trace, TheEndOfAThreadThatWasThereBeforeIsNoticed) {
  std::atomic<bool> may_end{false};
  std::atomic<std::int32_t> tid{0};
  std::thread older([&] {
    pthread_setname_np(pthread_self(), "older");
    tid = gettid();
    while (!may_end) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  });
  while (tid == 0) std::this_thread::yield();
  const Reader trace = TraceOf([&] {
    may_end = true;
    older.join();
    // The number stays in the directory until the kernel has seen to the end.
    const std::string path = "/proc/self/task/" + std::to_string(tid);
    for (int i = 0; i < 10'000 && access(path.c_str(), F_OK) == 0; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(120));
  });
  ASSERT_EQ(trace.Lives("older").size(), 1u);
  EXPECT_EQ(trace.Lives("older")[0].arguments.at("begin"), "before the trace");
  EXPECT_NE(trace.Lives("older")[0].arguments.at("end").find("noticed"), std::string::npos);
}

TEST(Trace, AConnectionSaysItsStatesAndItsPeer) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(listen(listener, 1), 0);
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  ASSERT_EQ(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), 0);
  const int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(connect(client, reinterpret_cast<sockaddr*>(&address), size), 0);
  const int server = accept(listener, nullptr, nullptr);
  const Reader trace = TraceOf([server] {
    const Task task("accepts");
    Connection connection(server, Direction::kInbound);
    connection.SetState("reading");
    connection.SetState("writing");
  });
  for (const int fd : {listener, client, server}) close(fd);
  const std::vector<Life> connections = trace.Lives("inbound connection");
  ASSERT_EQ(connections.size(), 1u);
  EXPECT_EQ(connections[0].subject, TraceSubject::kConnection);
  EXPECT_EQ(connections[0].states, (std::vector<std::string>{"reading", "writing"}));
  EXPECT_EQ(connections[0].arguments.at("peer").substr(0, 10), "127.0.0.1:");
  EXPECT_EQ(connections[0].arguments.at("opened_by").substr(0, 8), "accepts ");
}

TEST(Trace, OfAFullLogTheEndIsWhereItWasFull) {
  const std::int64_t before = ReadHeapCounters().dropped_trace_events_total;
  const Reader trace = TraceOf([] {
    for (int i = 0; i < 140'000; ++i) const Task task("one of many");
  });
  EXPECT_EQ(trace.trace().recorded_events + trace.trace().unfinished_events, 262'144);
  EXPECT_GE(trace.trace().dropped_events, 280'000 - 262'144);
  EXPECT_GE(ReadHeapCounters().dropped_trace_events_total - before, 280'000 - 262'144);
  const TraceEvent& mark = trace.trace().events.back();
  EXPECT_EQ(mark.phase, TracePhase::kMark);
  EXPECT_EQ(trace.trace().texts.at(mark.name).substr(0, 10), "log full: ");
  EXPECT_GE(trace.Lives("one of many").size(), 131'000u) << "no id is taken for another's";
}

TEST(Trace, OneAtATimeAndForSomeSeconds) {
  TraceOf([] {
    const Result<Trace> second = RecordTrace({.duration_ns = 1});
    ASSERT_FALSE(second);
    EXPECT_EQ(second.status().code(), StatusCode::kFailedPrecondition);
    EXPECT_EQ(second.status().message(), "tracing already in use");
  });
  for (const std::int64_t duration_ns : {std::int64_t{0}, std::int64_t{-1}, 300'000'000'001}) {
    const Result<Trace> refused = RecordTrace({.duration_ns = duration_ns});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.status().code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(refused.status().message(), "duration_ns is " + std::to_string(duration_ns) +
                                              "; accepted: 1 to 300000000000");
  }
  EXPECT_TRUE(RecordTrace({.duration_ns = 1})) << "the first is over";
}

TEST(Trace, NothingIsRecordedWhenNobodyLooks) {
  for (int i = 0; i < 100; ++i) const Task task("unseen");
  const Reader trace = TraceOf([] {});
  EXPECT_TRUE(trace.Lives("unseen").empty());
  EXPECT_EQ(trace.trace().recorded_events, 0);
}

}  // namespace
}  // namespace heldby
