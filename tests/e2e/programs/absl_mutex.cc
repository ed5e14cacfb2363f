// Waits for an absl::Mutex, measured by the program itself: until the unlocking, as Abseil
// does, not until the waiter runs again. Prints
//   "waited COUNT NANOSECONDS", "counted COUNT NANOSECONDS UNLOCKER", then "done".
//   absl_mutex          registers heldby's profiler first
//   absl_mutex second   somebody else has registered one: prints why it is refused
#include <atomic>
#include <cstdio>
#include <cstring>
#include <thread>

#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "asleep.h"
#include "heldby/absl.h"

namespace {

constexpr int kWaits = 20;
constexpr absl::Duration kHeld = absl::Milliseconds(20);

absl::Mutex mutex;
absl::Duration waited;

}  // namespace

extern "C" __attribute__((noinline)) void GivesUp() {
  mutex.Unlock();
  asm volatile("");
}

namespace {

void WaitOnce() {
  std::atomic<int> waiting{0};
  absl::Time start;
  mutex.Lock();
  std::thread waiter([&] {
    waiting = OwnTid();
    start = absl::Now();
    mutex.Lock();
    mutex.Unlock();
  });
  UntilAsleep(waiting);
  absl::SleepFor(kHeld);
  waited += absl::Now() - start;
  GivesUp();
  waiter.join();
}

void PrintCounted() {
  const auto profile = heldby::SnapshotMutex();
  if (!profile) return;
  for (const heldby::Sample& sample : profile->samples) {
    const heldby::Location& leaf =
        profile->locations[static_cast<std::size_t>(sample.stack[0]) - 1];
    const std::string name =
        leaf.lines.empty()
            ? "?"
            : profile->functions[static_cast<std::size_t>(leaf.lines[0].function) - 1].name;
    std::printf("counted %lld %lld %s\n", static_cast<long long>(sample.values[0]),
                static_cast<long long>(sample.values[1]), name.c_str());
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "second") == 0) {
    absl::RegisterMutexProfiler([](std::int64_t) {});
  }
  const heldby::Status status = heldby::RegisterAbslMutexProfiler();
  if (!status.ok()) std::printf("refused: %s\n", status.message().c_str());
  heldby::SetMutexProfileFraction(1);
  for (int i = 0; i < kWaits; ++i) WaitOnce();
  std::printf("waited %d %lld\n", kWaits,
              static_cast<long long>(absl::ToInt64Nanoseconds(waited)));
  PrintCounted();
  std::printf("done\n");
}
