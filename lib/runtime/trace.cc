#include "heldby/trace.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "collect/trace_builder.h"
#include "collect/trace_log.h"
#include "heldby/self.h"
#include "runtime/core_access.h"

namespace heldby {
namespace {

using std::chrono::steady_clock;

constexpr std::int64_t kMaxDurationNs = 300'000'000'000;
// How long one that has left keeps a trace going, and how late the end of a thread is noticed
// that was there before.
constexpr std::chrono::milliseconds kStep(50);

void Wait(const TraceOptions& options, collect::TraceRecorder* recorder) {
  const auto end = steady_clock::now() + std::chrono::nanoseconds(options.duration_ns);
  for (auto now = steady_clock::now(); now < end; now = steady_clock::now()) {
    if (options.cancelled && options.cancelled()) return;
    std::this_thread::sleep_until(std::min<steady_clock::time_point>(now + kStep, end));
    recorder->Look();
  }
}

Status Refusal(core::EventLog::Started started) {
  return started == core::EventLog::Started::kInUse
             ? Status(StatusCode::kFailedPrecondition, "tracing already in use")
             : Status(StatusCode::kResourceExhausted, "no address space for the log");
}

}  // namespace

Result<Trace> RecordTrace(const TraceOptions& options) {
  UnsampledScope unsampled;
  if (options.duration_ns <= 0 || options.duration_ns > kMaxDurationNs) {
    return Status(StatusCode::kInvalidArgument,
                  absl::StrCat("duration_ns is ", options.duration_ns, "; accepted: 1 to ",
                               kMaxDurationNs));
  }
  const core::CoreApi* core = runtime::Core();
  if (core == nullptr) {
    return Status(StatusCode::kUnavailable, "the core is missing or of another version");
  }
  try {
    collect::TraceRecorder recorder(*core);
    const auto started = recorder.Start();
    if (started != core::EventLog::Started::kYes) return Refusal(started);
    Wait(options, &recorder);
    return collect::BuildTrace(*core, std::move(recorder).Finish());
  } catch (const std::exception& error) {  // bad_alloc above all
    return Status(StatusCode::kResourceExhausted,
                  std::string("cannot record a trace: ") + error.what());
  }
}

}  // namespace heldby
