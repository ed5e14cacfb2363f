// A library that makes time jump: an hour to and fro, on every other call for it. What of: the
// wall clock alone, or (JUMPS=all) the monotonic one, too, as libraries for tests do.
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>

namespace {
std::atomic<unsigned> calls{0};

bool Jumps(clockid_t clock) {
  if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) return true;
  static const bool all = [] {
    const char* what = getenv("JUMPS");
    return what != nullptr && std::strcmp(what, "all") == 0;
  }();
  return all && (clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_COARSE);
}
}  // namespace

extern "C" int clock_gettime(clockid_t clock, timespec* now) noexcept {
  const long result = syscall(SYS_clock_gettime, clock, now);
  if (result == 0 && Jumps(clock) && (calls.fetch_add(1) & 1) != 0) now->tv_sec -= 3600;
  return static_cast<int>(result);
}
extern "C" time_t time(time_t* out) noexcept {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out != nullptr) *out = now.tv_sec;
  return now.tv_sec;
}
extern "C" int gettimeofday(timeval* __restrict out, void* __restrict) noexcept {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  *out = {now.tv_sec, now.tv_nsec / 1000};
  return 0;
}
