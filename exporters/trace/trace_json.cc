#include "exporters/trace/trace_json.h"

#include <time.h>

#include <exception>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "exporters/pprof/gzip.h"
#include "exporters/trace/json_text.h"

namespace heldby {
namespace {

constexpr std::size_t kPieceBytes = 64 * 1024;

const char* NameOf(TraceSubject subject) {
  switch (subject) {
    case TraceSubject::kThread:
      return "thread";
    case TraceSubject::kTask:
      return "task";
    case TraceSubject::kConnection:
      return "connection";
  }
  return "";
}

// RFC 3339, in UTC.
std::string WallTime(std::int64_t time_ns) {
  const time_t seconds = time_ns / 1'000'000'000;
  tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  const std::size_t size = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts);
  return absl::StrCat(absl::string_view(text, size), ".",
                      absl::Dec(time_ns % 1'000'000'000 / 1'000'000, absl::kZeroPad3), "Z");
}

class Writer {
 public:
  Writer(const Trace& trace, const std::function<void(std::string_view)>& write,
         std::size_t max_argument_bytes)
      : trace_(trace), write_(write), argument_bytes_left_(max_argument_bytes) {}

  void Write() {
    json_ = "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n";
    Names();
    for (const TraceEvent& event : trace_.events) {
      One(event);
      if (json_.size() >= kPieceBytes) Flush();
    }
    json_ += "\n],";
    OtherData();
    json_ += "}\n";
    Flush();
  }

 private:
  void Flush() {
    write_(json_);
    json_.clear();
  }

  std::string_view Text(std::uint32_t number) const {
    return number < trace_.texts.size() ? trace_.texts[number] : std::string_view();
  }

  // The comma and what every event has.
  void Begin(char phase, std::int32_t tid, std::int64_t time_ns) {
    if (!std::exchange(is_first_, false)) json_ += ",\n";
    absl::StrAppend(&json_, "{\"ph\":\"", absl::string_view(&phase, 1),
                    "\",\"pid\":", trace_.pid, ",\"tid\":", tid, ",\"ts\":", time_ns / 1000,
                    ".", absl::Dec(time_ns % 1000, absl::kZeroPad3));
  }
  void Name(std::string_view name, const char* category) {
    json_ += ",\"name\":";
    AppendJsonQuoted(&json_, name);
    absl::StrAppend(&json_, ",\"cat\":\"", category, "\"");
  }

  void Names() {
    Metadata("process_name", trace_.pid, trace_.process_name);
    for (const TraceThread& thread : trace_.threads) {
      Metadata("thread_name", thread.tid, thread.name);
    }
  }
  void Metadata(const char* what, std::int32_t tid, std::string_view name) {
    Begin('M', tid, 0);
    absl::StrAppend(&json_, ",\"name\":\"", what, "\",\"args\":{\"name\":");
    AppendJsonQuoted(&json_, name);
    json_ += "}}";
  }

  void Arguments(const TraceEvent& event) {
    if (event.argument_count == 0) return;
    std::string arguments = ",\"args\":{";
    for (std::uint32_t i = 0; i < event.argument_count; ++i) {
      const TraceArgument& argument = trace_.arguments[event.first_argument + i];
      if (i != 0) arguments += ',';
      AppendJsonQuoted(&arguments, Text(argument.key));
      arguments += ':';
      AppendJsonQuoted(&arguments, Text(argument.value));
    }
    arguments += '}';
    if (arguments.size() > argument_bytes_left_) {
      ++without_arguments_;
      return;
    }
    argument_bytes_left_ -= arguments.size();
    json_ += arguments;
  }

  void One(const TraceEvent& event) {
    const char* subject = NameOf(event.subject);
    switch (event.phase) {
      case TracePhase::kRunBegin:
        Begin('B', event.tid, event.time_ns);
        Name(Text(event.name), "run");
        break;
      case TracePhase::kRunEnd:
        Begin('E', event.tid, event.time_ns);
        break;
      case TracePhase::kLifeBegin:
      case TracePhase::kLifeEnd:
        Begin(event.phase == TracePhase::kLifeBegin ? 'b' : 'e', event.tid, event.time_ns);
        Name(Text(event.name), subject);
        // Local to the process: two traces laid side by side keep theirs apart.
        absl::StrAppend(&json_, ",\"id2\":{\"local\":\"0x",
                        absl::Hex(event.id << 2 | static_cast<unsigned>(event.subject)), "\"}");
        break;
      case TracePhase::kFlowOut:
      case TracePhase::kFlowIn:
        Begin(event.phase == TracePhase::kFlowOut ? 's' : 'f', event.tid, event.time_ns);
        Name("starts", "flow");
        absl::StrAppend(&json_, ",\"id\":\"0x", absl::Hex(event.id), "\"");
        if (event.phase == TracePhase::kFlowIn) json_ += ",\"bp\":\"e\"";
        break;
      case TracePhase::kMark:
        Begin('i', event.tid, event.time_ns);
        Name(Text(event.name), "heldby");
        json_ += ",\"s\":\"p\"";
        break;
    }
    Arguments(event);
    json_ += '}';
  }

  void OtherData() {
    absl::StrAppend(&json_, "\"otherData\":{\"source\":\"heldby\",\"start\":\"",
                    WallTime(trace_.time_ns), "\",\"duration_ns\":", trace_.duration_ns,
                    ",\"recorded_events\":", trace_.recorded_events,
                    ",\"dropped_events\":", trace_.dropped_events,
                    ",\"unfinished_events\":", trace_.unfinished_events,
                    ",\"tasks_left_out\":", trace_.tasks_left_out,
                    ",\"events_without_arguments\":", without_arguments_, "}");
  }

  const Trace& trace_;
  const std::function<void(std::string_view)>& write_;
  std::size_t argument_bytes_left_;
  std::int64_t without_arguments_ = 0;
  bool is_first_ = true;
  std::string json_;
};

}  // namespace

void WriteTraceJson(const Trace& trace, const std::function<void(std::string_view)>& write,
                    std::size_t max_argument_bytes) {
  Writer(trace, write, max_argument_bytes).Write();
}

Result<std::string> EncodeTrace(const Trace& trace) {
  try {
    GzipWriter gzip;
    WriteTraceJson(trace, [&gzip](std::string_view piece) { gzip.Append(piece); });
    return std::move(gzip).Finish();
  } catch (const std::exception& error) {  // bad_alloc
    return Status(StatusCode::kResourceExhausted,
                  absl::StrCat("cannot encode the trace: ", error.what()));
  }
}

}  // namespace heldby
