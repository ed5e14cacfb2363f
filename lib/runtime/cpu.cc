#include "heldby/cpu.h"

#include <algorithm>
#include <exception>
#include <string>
#include <thread>

#include "collect/cpu.h"
#include "heldby/self.h"
#include "heldby/symbolize.h"
#include "runtime/core_access.h"

namespace heldby {
namespace {

using Clock = std::chrono::steady_clock;

Status Check(const CpuOptions& options) {
  if (options.hz < kMinCpuHz || options.hz > kMaxCpuHz) {
    return {StatusCode::kInvalidArgument,
            "hz is " + std::to_string(options.hz) + "; accepted: 1 to 1000"};
  }
  if (options.duration <= std::chrono::nanoseconds(0)) {
    return {StatusCode::kInvalidArgument, "the duration of a CPU profile must be positive"};
  }
  return {};
}

Status WhyNot(core::CpuStart result) {
  switch (result) {
    case core::CpuStart::kInUse:
      return {StatusCode::kFailedPrecondition, "cpu profiling already in use"};
    case core::CpuStart::kForbidden:
      return {StatusCode::kUnavailable,
              "a CPU profile needs a signal, and HELDBY_THREAD_SIGNAL=0 or HELDBY_DISABLE=1 "
              "forbids any"};
    case core::CpuStart::kNoSignal:
      return {StatusCode::kUnavailable,
              "a CPU profile needs a signal, and this program handles every real-time signal"};
    case core::CpuStart::kStarted:
      break;
  }
  return {};
}

// Ends the timers whatever happens.
class Running {
 public:
  explicit Running(const core::CpuApi& cpu) : cpu_(cpu) {}
  ~Running() {
    if (!stopped_) cpu_.stop([](void*, const core::CpuSample&) {}, nullptr);
  }
  void Stop(collect::CpuCollector* collector) {
    stopped_ = true;
    collector->Stop();
  }

 private:
  const core::CpuApi& cpu_;
  bool stopped_ = false;
};

// At 1000 a second the samples of a dozen processors fill the slots in 10 ms.
Clock::duration LookEvery(int hz) {
  return std::clamp<Clock::duration>(std::chrono::milliseconds(1000 / hz),
                                     std::chrono::milliseconds(1),
                                     std::chrono::milliseconds(10));
}

void CollectUntil(Clock::time_point end, const CpuOptions& options,
                  collect::CpuCollector* collector) {
  constexpr std::chrono::milliseconds kFindThreadsEvery(100);
  // Thousands of threads take tens of milliseconds to look through.
  constexpr std::chrono::seconds kFindThreadsAtLeast(1);
  constexpr int kShareOfAProcessor = 20;  // one in twenty
  auto find_threads = Clock::now();
  for (auto now = Clock::now(); now < end; now = Clock::now()) {
    if (options.cancelled && options.cancelled()) return;
    if (now >= find_threads) {
      collector->FindThreads();
      const auto cost = Clock::now() - now;
      find_threads = now + std::clamp<Clock::duration>(cost * kShareOfAProcessor,
                                                       kFindThreadsEvery, kFindThreadsAtLeast);
    }
    collector->Drain();
    std::this_thread::sleep_until(std::min(now + LookEvery(options.hz), end));
  }
}

}  // namespace

Result<Profile> ProfileCpu(const CpuOptions& options) {
  UnsampledScope unsampled;
  const core::CoreApi* core = runtime::Core();
  if (core == nullptr) {
    return Status(StatusCode::kUnavailable, "the core is missing or of another version");
  }
  if (Status bad = Check(options); !bad.ok()) return bad;
  const auto period_ns = static_cast<std::uint64_t>(1'000'000'000 / options.hz);
  try {
    collect::CpuCollector collector(*core, period_ns);
    const auto began = std::chrono::system_clock::now();
    const auto began_by_clock = Clock::now();
    if (Status failed = WhyNot(core->cpu->start(period_ns)); !failed.ok()) return failed;
    Running running(*core->cpu);
    CollectUntil(began_by_clock + options.duration, options, &collector);
    running.Stop(&collector);
    Profile profile = collector.Finish(
        options.labels, std::chrono::nanoseconds(began.time_since_epoch()).count(),
        std::chrono::nanoseconds(Clock::now() - began_by_clock).count());
    SymbolizeProfile(&profile);
    return profile;
  } catch (const std::exception& error) {  // bad_alloc above all
    return Status(StatusCode::kResourceExhausted,
                  std::string("cannot build the CPU profile: ") + error.what());
  }
}

}  // namespace heldby
