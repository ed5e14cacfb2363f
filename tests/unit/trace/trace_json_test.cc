#include "exporters/trace/trace_json.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <string>

#include "exporters/pprof/gzip.h"

namespace heldby {
namespace {

std::string JsonOf(const Trace& trace, std::size_t max_argument_bytes = kMaxArgumentBytes) {
  std::string json;
  WriteTraceJson(
      trace, [&json](std::string_view piece) { json += piece; }, max_argument_bytes);
  return json;
}

Trace Small() {
  Trace trace;
  trace.time_ns = 1'700'000'000'123'456'789;
  trace.duration_ns = 2'000'000;
  trace.pid = 42;
  trace.process_name = "svc\"";
  trace.threads = {{42, "svc\""}, {43, "worker"}};
  trace.texts = {"", "serve\xFF", "running", "tenant", "a\nb"};
  trace.arguments = {{3, 4}};
  trace.events = {
      {.time_ns = 0,
       .id = 1,
       .tid = 43,
       .name = 1,
       .argument_count = 1,
       .phase = TracePhase::kLifeBegin,
       .subject = TraceSubject::kTask},
      {.time_ns = 5, .id = 1, .tid = 42, .phase = TracePhase::kFlowOut},
      {.time_ns = 1'234'567, .tid = 43, .name = 1, .phase = TracePhase::kRunBegin},
      {.time_ns = 1'234'567, .id = 1, .tid = 43, .phase = TracePhase::kFlowIn},
      {.time_ns = 1'999'999, .tid = 43, .phase = TracePhase::kRunEnd},
      {.time_ns = 2'000'000,
       .id = 1,
       .tid = 43,
       .name = 1,
       .phase = TracePhase::kLifeEnd,
       .subject = TraceSubject::kTask},
      {.time_ns = 2'000'000, .tid = 42, .name = 2, .phase = TracePhase::kMark},
  };
  trace.recorded_events = 4;
  trace.dropped_events = 1;
  return trace;
}

// To the byte: viewers read it, and none of them says what it did not like.
TEST(TraceJson, IsTheTraceEventFormat) {
  EXPECT_EQ(JsonOf(Small()),
            R"({"displayTimeUnit":"ns","traceEvents":[
{"ph":"M","pid":42,"tid":42,"ts":0.000,"name":"process_name","args":{"name":"svc\""}},
{"ph":"M","pid":42,"tid":42,"ts":0.000,"name":"thread_name","args":{"name":"svc\""}},
{"ph":"M","pid":42,"tid":43,"ts":0.000,"name":"thread_name","args":{"name":"worker"}},
{"ph":"b","pid":42,"tid":43,"ts":0.000,"name":"serve)"
            "\xEF\xBF\xBD"
            R"(","cat":"task","id2":{"local":"0x5"},"args":{"tenant":"a\u000ab"}},
{"ph":"s","pid":42,"tid":42,"ts":0.005,"name":"starts","cat":"flow","id":"0x1"},
{"ph":"B","pid":42,"tid":43,"ts":1234.567,"name":"serve)"
            "\xEF\xBF\xBD"
            R"(","cat":"run"},
{"ph":"f","pid":42,"tid":43,"ts":1234.567,"name":"starts","cat":"flow","id":"0x1","bp":"e"},
{"ph":"E","pid":42,"tid":43,"ts":1999.999},
{"ph":"e","pid":42,"tid":43,"ts":2000.000,"name":"serve)"
            "\xEF\xBF\xBD"
            R"(","cat":"task","id2":{"local":"0x5"}},
{"ph":"i","pid":42,"tid":42,"ts":2000.000,"name":"running","cat":"heldby","s":"p"}
],"otherData":{"source":"heldby","start":"2023-11-14T22:13:20.123Z","duration_ns":2000000,)"
            R"("recorded_events":4,"dropped_events":1,"unfinished_events":0,)"
            R"("tasks_left_out":0,"events_without_arguments":0}}
)");
}

TEST(TraceJson, ArgumentsBeyondTheBoundAreLeftOutAndCounted) {
  const std::string json = JsonOf(Small(), 10);
  EXPECT_EQ(json.find("tenant"), std::string::npos);
  EXPECT_NE(json.find("\"events_without_arguments\":1}"), std::string::npos);
}

TEST(TraceJson, ALongTraceComesInPiecesAndIsWholeWhenUnpacked) {
  Trace trace = Small();
  const std::vector<TraceEvent> once = trace.events;
  for (int i = 0; i < 5000; ++i) {
    trace.events.insert(trace.events.end(), once.begin(), once.end());
  }
  std::size_t pieces = 0;
  std::size_t longest = 0;
  WriteTraceJson(trace, [&](std::string_view piece) {
    ++pieces;
    longest = std::max(longest, piece.size());
  });
  EXPECT_GT(pieces, 10u);
  EXPECT_LT(longest, 70'000u) << "64 KiB and one event";
  const auto packed = EncodeTrace(trace);
  ASSERT_TRUE(packed) << packed.status().message();
  const auto unpacked = Gunzip(*packed, 1 << 30);
  ASSERT_TRUE(unpacked) << unpacked.status().message();
  EXPECT_EQ(*unpacked, JsonOf(trace));
}

// What does not shrink fills every buffer on the way.
TEST(GzipWriter, GivesBackWhateverTheSizesOfThePieces) {
  std::string bytes;
  std::uint64_t random = 1;
  for (int i = 0; i < 1'000'000; ++i) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    bytes += static_cast<char>(random >> 56);
  }
  for (const std::size_t step :
       {std::size_t{1} << 30, std::size_t{100'000}, std::size_t{777}}) {
    GzipWriter writer;
    for (std::size_t at = 0; at < bytes.size(); at += step) {
      writer.Append(std::string_view(bytes).substr(at, step));
      writer.Append("");
    }
    const auto packed = std::move(writer).Finish();
    ASSERT_TRUE(packed) << packed.status().message();
    const auto unpacked = Gunzip(*packed, bytes.size());
    ASSERT_TRUE(unpacked) << unpacked.status().message();
    ASSERT_EQ(*unpacked, bytes);
  }
  const auto empty = GzipWriter().Finish();
  ASSERT_TRUE(empty);
  EXPECT_EQ(*Gunzip(*empty, 10), "");
}

}  // namespace
}  // namespace heldby
