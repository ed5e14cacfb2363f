#include "core/registry/event_log.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vector>

#include "core/registry/registry.h"

namespace heldby::core {
namespace {

std::vector<Event> EventsOf(const EventLog& log, std::uint64_t* unfinished = nullptr) {
  std::vector<Event> events;
  const std::uint64_t missing = log.Visit(
      [](void* all, const Event& event) {
        static_cast<std::vector<Event>*>(all)->push_back(event);
      },
      &events);
  if (unfinished != nullptr) *unfinished = missing;
  return events;
}

// The registry writes into the log of this process.
class RegistryTrace : public testing::Test {
 protected:
  void TearDown() override {
    if (is_traced_) Stop();
  }
  void Start() {
    ASSERT_EQ(event_log.Start(), EventLog::Started::kYes);
    is_traced_ = true;
  }
  std::vector<Event> Stop() {
    is_traced_ = false;
    event_log.Stop();
    std::vector<Event> events = EventsOf(event_log);
    event_log.Release();
    return events;
  }
  static std::vector<EventKind> Kinds(const std::vector<Event>& events) {
    std::vector<EventKind> kinds;
    for (const Event& event : events) kinds.push_back(event.kind);
    return kinds;
  }

  StackTable stacks_;
  bool is_traced_ = false;
};

Event Numbered(std::uint32_t number) {
  return {.kind = EventKind::kTaskPark,
          .flags = static_cast<std::uint8_t>(number),
          .place = static_cast<std::uint16_t>(number),
          .id = number,
          .a = number + 1,
          .b = number + 2,
          .c = number + 3};
}

TEST(EventLog, AnEventComesBackAsItWasWrittenWithItsThreadAndTime) {
  EventLog log;
  ASSERT_EQ(log.Start(), EventLog::Started::kYes);
  const Event written{.kind = EventKind::kConnectionPeer,
                      .flags = 0xFF,
                      .place = 0xFFFF,
                      .id = 0xFFFF'FFFF,
                      .a = 0x8000'0001,
                      .b = 7,
                      .c = 0xDEAD'BEEF};
  log.Record(written);
  log.Record(Numbered(1));
  const EventLog::Totals totals = log.Stop();
  const std::vector<Event> events = EventsOf(log);
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].kind, written.kind);
  EXPECT_EQ(events[0].flags, written.flags);
  EXPECT_EQ(events[0].place, written.place);
  EXPECT_EQ(events[0].id, written.id);
  EXPECT_EQ(events[0].a, written.a);
  EXPECT_EQ(events[0].b, written.b);
  EXPECT_EQ(events[0].c, written.c);
  EXPECT_EQ(events[0].tid, syscall(SYS_gettid));
  EXPECT_LE(totals.start_ns, events[0].time_ns);
  EXPECT_LE(events[0].time_ns, events[1].time_ns);
  EXPECT_LE(events[1].time_ns, totals.end_ns);
  EXPECT_EQ(totals.recorded, 2u);
  EXPECT_EQ(totals.dropped_total, 0u);
  log.Release();
}

TEST(EventLog, AFullLogDropsTheNewestAndCountsThem) {
  EventLog log;
  ASSERT_EQ(log.Start(), EventLog::Started::kYes);
  for (std::uint32_t i = 0; i < EventLog::kCapacity + 1000; ++i) log.Record(Numbered(i));
  const EventLog::Totals totals = log.Stop();
  const std::vector<Event> events = EventsOf(log);
  ASSERT_EQ(events.size(), EventLog::kCapacity);
  for (std::uint32_t i = 0; i < EventLog::kCapacity; ++i) ASSERT_EQ(events[i].id, i);
  EXPECT_EQ(totals.recorded, EventLog::kCapacity);
  EXPECT_EQ(totals.dropped_total, 1000u);
  EXPECT_EQ(log.dropped(), 1000u);
  EXPECT_GE(totals.end_ns, events.back().time_ns) << "it ends when it is full";
  log.Release();
  // The next one begins anew.
  ASSERT_EQ(log.Start(), EventLog::Started::kYes);
  log.Record(Numbered(5));
  EXPECT_EQ(log.Stop().dropped_total, 0u);
  EXPECT_EQ(EventsOf(log).size(), 1u);
  log.Release();
}

TEST(EventLog, ASecondTraceIsRefusedUntilTheFirstIsReleased) {
  EventLog log;
  ASSERT_EQ(log.Start(), EventLog::Started::kYes);
  EXPECT_EQ(log.Start(), EventLog::Started::kInUse);
  log.Stop();
  EXPECT_EQ(log.Start(), EventLog::Started::kInUse) << "somebody still reads it";
  log.Release();
  EXPECT_EQ(log.Start(), EventLog::Started::kYes);
  log.Stop();
  log.Release();
}

// As one does that looked at is_on() just before the end.
TEST(EventLog, AnEventThatComesTooLateIsInNoTrace) {
  EventLog log;
  log.Record(Numbered(1));
  ASSERT_EQ(log.Start(), EventLog::Started::kYes);
  log.Stop();
  log.Record(Numbered(2));
  EXPECT_TRUE(EventsOf(log).empty());
  log.Release();
  log.Record(Numbered(3));
  ASSERT_EQ(log.Start(), EventLog::Started::kYes);
  log.Stop();
  EXPECT_TRUE(EventsOf(log).empty());
  EXPECT_EQ(log.dropped(), 0u) << "they are nobody's";
  log.Release();
}

TEST(EventLog, RecordingKeepsErrno) {
  EventLog log;
  ASSERT_EQ(log.Start(), EventLog::Started::kYes);
  errno = EXDEV;
  log.Record(Numbered(1));
  EXPECT_EQ(errno, EXDEV);
  log.Stop();
  EXPECT_EQ(errno, EXDEV);
  log.Release();
  EXPECT_EQ(errno, EXDEV);
}

TEST(EventLog, AForkedChildIsNotTracedAndMayBe) {
  EventLog log;
  ASSERT_EQ(log.Start(), EventLog::Started::kYes);
  log.Record(Numbered(1));
  const pid_t child = fork();
  if (child == 0) {
    log.BeginAnewInChild();
    if (log.is_on()) _exit(1);
    if (log.Start() != EventLog::Started::kYes) _exit(2);
    log.Record(Numbered(2));
    log.Stop();
    const std::vector<Event> events = EventsOf(log);
    _exit(events.size() == 1 && events[0].id == 2 ? 0 : 3);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  log.Record(Numbered(3));
  log.Stop();
  EXPECT_EQ(EventsOf(log).size(), 2u) << "the parent goes on";
  log.Release();
}

TEST_F(RegistryTrace, WhatHappensWhileNobodyTracesIsNotRecorded) {
  const std::uint32_t before = registry.BeginTask({}, &stacks_);
  registry.EndTask(registry.BeginTask({}, &stacks_));
  Start();
  const std::vector<Event> events = Stop();
  registry.EndTask(before);
  EXPECT_TRUE(events.empty());
}

TEST_F(RegistryTrace, ATaskTellsOfItsWholeLife) {
  Start();
  const Place made{"job", "file.cc", "Make", 7};
  const std::uint32_t place = registry.places.Intern({"read", "file.cc", "Read", 9});
  const std::uint32_t id = registry.BeginTask({.made = made, .connection = 77}, &stacks_);
  registry.ParkTask(id, place, nullptr);
  registry.ParkTask(id, place, nullptr);
  const Holder before = registry.EnterTask(id);
  registry.LeaveTask(id, before);
  registry.EndTask(id);
  registry.EndTask(id);
  const std::vector<Event> events = Stop();
  ASSERT_EQ(Kinds(events), (std::vector<EventKind>{EventKind::kTaskBegin, EventKind::kTaskPark,
                                                   EventKind::kTaskEnter, EventKind::kTaskLeave,
                                                   EventKind::kTaskEnd}))
      << "the same place again and a second end are nothing new";
  for (const Event& event : events) EXPECT_EQ(event.id, id);
  EXPECT_EQ(registry.places.Get(events[0].place), made);
  EXPECT_EQ(events[0].b, 77u);
  EXPECT_EQ(events[1].place, place);
  EXPECT_EQ(events[2].place, place) << "what it waited for until now";
  EXPECT_EQ(registry.places.Get(events[4].place), made);
}

TEST_F(RegistryTrace, AScopeIsTheThreadsTaskFromItsBeginningToItsEnd) {
  Start();
  Holder outer;
  const std::uint32_t id = registry.BeginScope(
      {.made = {"scope", "file.cc", "Run", 1}, .is_scope = true}, &outer, &stacks_);
  EXPECT_EQ(thread_slot.holder.task, id);
  registry.EndScope(id, outer);
  EXPECT_EQ(thread_slot.holder.task, outer.task);
  const std::vector<Event> events = Stop();
  ASSERT_EQ(Kinds(events),
            (std::vector<EventKind>{EventKind::kTaskBegin, EventKind::kTaskEnd}));
  EXPECT_EQ(events[0].flags, Event::kScope);
  EXPECT_EQ(events[1].flags, Event::kScope);
}

TEST_F(RegistryTrace, AHolderThatStaysTheSameIsNoEvent) {
  Start();
  const Holder before = registry.SetHolder({.connection = 1, .task = 2, .labels = 3});
  registry.SetHolder({.connection = 1, .task = 2, .labels = 3});
  registry.SetHolder(before);
  const std::vector<Event> events = Stop();
  ASSERT_EQ(Kinds(events), (std::vector<EventKind>{EventKind::kHolder, EventKind::kHolder}));
  EXPECT_EQ(events[0].id, 2u);
  EXPECT_EQ(events[0].b, 1u);
  EXPECT_EQ(events[0].c, 3u);
}

TEST_F(RegistryTrace, AConnectionTellsItsStateAndItsEnd) {
  static const char kState[] = "reading";
  Start();
  const std::uint32_t id =
      registry.OpenConnection(-1, /*outbound=*/true, /*implicit=*/false, 0, &stacks_);
  registry.SetConnectionState(id, kState);
  registry.SetConnectionState(id, kState);
  registry.EndConnection(id);
  registry.EndConnection(id);
  const std::vector<Event> events = Stop();
  ASSERT_EQ(Kinds(events),
            (std::vector<EventKind>{EventKind::kConnectionBegin, EventKind::kConnectionState,
                                    EventKind::kConnectionEnd}));
  EXPECT_EQ(events[0].flags, Event::kOutbound);
  EXPECT_EQ(static_cast<std::int32_t>(events[0].a), -1);
  EXPECT_EQ(reinterpret_cast<const char*>(std::uintptr_t{events[1].b} << 32 | events[1].a),
            kState);
}

}  // namespace
}  // namespace heldby::core
