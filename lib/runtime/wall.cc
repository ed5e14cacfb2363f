#include "heldby/wall.h"

#include <algorithm>
#include <exception>
#include <string>
#include <thread>

#include "collect/wall.h"
#include "heldby/self.h"
#include "heldby/symbolize.h"
#include "runtime/core_access.h"

namespace heldby {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::nanoseconds;

// Not 100: what a program does a hundred times a second must not be seen always, or never.
constexpr nanoseconds kPeriod(1'000'000'000 / 99);
constexpr int kShareOfAProcessor = 20;  // one in twenty

void LookUntil(Clock::time_point end, const WallOptions& options,
               collect::WallCollector* collector) {
  constexpr std::chrono::milliseconds kCancelledEvery(50);
  auto last = Clock::now();
  auto next = last + kPeriod;
  while (true) {
    for (auto now = Clock::now(); now < std::min(next, end); now = Clock::now()) {
      if (options.cancelled && options.cancelled()) return;
      std::this_thread::sleep_until(
          std::min<Clock::time_point>({next, end, now + kCancelledEvery}));
    }
    const auto began = Clock::now();
    collector->Look(nanoseconds(began - last).count());
    if (began >= end) return;
    last = began;
    const auto cost = Clock::now() - began;
    next = began + std::max<Clock::duration>(kPeriod, cost * kShareOfAProcessor);
  }
}

}  // namespace

Result<Profile> ProfileWall(const WallOptions& options) {
  UnsampledScope unsampled;
  const core::CoreApi* core = runtime::Core();
  if (core == nullptr) {
    return Status(StatusCode::kUnavailable, "the core is missing or of another version");
  }
  if (options.duration <= nanoseconds(0)) {
    return Status(StatusCode::kInvalidArgument,
                  "the duration of a wall clock profile must be positive");
  }
  try {
    collect::WallCollector collector(*core, options.may_signal);
    const auto began = std::chrono::system_clock::now();
    const auto began_by_clock = Clock::now();
    LookUntil(began_by_clock + options.duration, options, &collector);
    Profile profile =
        collector.Finish(kPeriod.count(), nanoseconds(began.time_since_epoch()).count(),
                         nanoseconds(Clock::now() - began_by_clock).count());
    SymbolizeProfile(&profile);
    return profile;
  } catch (const std::exception& error) {  // bad_alloc above all
    return Status(StatusCode::kResourceExhausted,
                  std::string("cannot build the wall clock profile: ") + error.what());
  }
}

}  // namespace heldby
