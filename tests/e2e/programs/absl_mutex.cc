// Waits for an absl::Mutex, measured by the program itself. Prints
//   "waited COUNT NANOSECONDS", "counted COUNT NANOSECONDS UNLOCKER", then "done".
//   absl_mutex          registers heldby's profiler first
//   absl_mutex second   somebody else has registered one: prints why it is refused
#include <cstdio>
#include <cstring>
#include <thread>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
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
  absl::Notification about_to_wait;
  mutex.Lock();
  std::thread waiter([&about_to_wait] {
    about_to_wait.Notify();
    const absl::Time start = absl::Now();
    mutex.Lock();
    waited += absl::Now() - start;
    mutex.Unlock();
  });
  about_to_wait.WaitForNotification();
  absl::SleepFor(kHeld);
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
