// heldby/leaks.h - what leaks here, since when, and who holds it; and what was some time ago.
//
// Threads  every function: any thread, any time. A LeakWatch: one thread at a time.
// Signals  unsafe.
// Self     the watching thread is in no profile; its cost is in
//          heldby_profiler_cpu_seconds_total.
// Units    bytes, seconds; times since 1970.
// Bounds   LeakWatchOptions::history_bytes; for want of room the past becomes coarser:
//          heldby_history_thinned_total. A hundred verdicts, twenty of them of growing sites:
//          LeakReport::left_out, heldby_leaks_left_out.
// Source   docs/leaks.md.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "heldby/profile.h"
#include "heldby/status.h"

namespace heldby {

enum class LeakKind {
  kStuckReaders,         // peers that stopped reading, and what is held for them
  kUnreadResponses,      // data arrived, or the peer hung up, and we neither read nor close
  kUnclosedConnections,  // ours, at rest, and nobody waits for them
  kGrowingConnections,   // opened all the time at one place and never closed
  kPilingTasks,          // begun all the time at one place and waiting at another
  kLostWakeups,          // a wait that nobody can end any more
  kOutlivedHolders,      // bytes of connections and tasks that have ended
  kGrowingSite,          // bytes that one stack allocates and nobody frees
};
[[nodiscard]] const char* LeakKindName(LeakKind kind);  // "stuck_readers", ...

enum class LeakClass { kLeak, kSuspect, kGrowthWithLoad, kWarmUp, kSteady };
/// "leak", "growth_with_load", ...
[[nodiscard]] const char* LeakClassName(LeakClass leak_class);

struct LeakStack {
  std::string role;                   // "allocated at", "opened at", "waits at"
  std::vector<std::string> frames{};  // "function file:line", innermost first
};

struct LeakVerdict {
  LeakKind kind{};
  LeakClass leak_class{};
  std::string summary{};      // one line: how many, how much, for how long, where
  std::string evidence{};     // what it rests on, with numbers
  std::string doubt{};        // what would make it wrong
  std::string expected{};     // the reason given for expecting it; empty: nobody does
  std::string command{};      // what to type to see it
  std::int64_t count = 0;     // connections, tasks, or blocks
  std::int64_t bytes = 0;     // held now, an estimate
  double slope_per_hour = 0;  // bytes; of tasks and connections, how many. 0: not measured
  double slope_error = 0;     // half of its 95 % interval
  std::int64_t since_s = 0;   // for how long already
  /// Until the memory limit, at this slope; -1: never, or no limit.
  std::int64_t limit_in_s = -1;
  std::vector<std::string> holders{};  // the three that hold most
  std::vector<LeakStack> stacks{};
};

struct LeakReport {
  std::vector<LeakVerdict> verdicts{};  // the worst first
  std::int64_t watched_s = 0;           // for how long the past is known; 0: nobody watches
  std::int64_t window_s = 0;            // the shortest that growth is judged by
  std::string process{};                // what holds of all: where resident memory is
  std::int64_t left_out = 0;  // verdicts that were not told: those of the least weight
  /// Leaks that nobody expects.
  [[nodiscard]] std::size_t leaks() const;
};

/// Judges what there is now, and what has grown since the watch began.
///
/// kUnavailable        the core of another version, or none
/// kResourceExhausted  no memory for the report
[[nodiscard]] Result<LeakReport> JudgeLeaks();

struct LeakWatchOptions {
  /// The shortest time that growth is judged by. Growth is called a leak when it has passed
  /// twice. Everything that is kept of the past is in its proportion.
  std::chrono::nanoseconds window = std::chrono::minutes(10);
  std::size_t history_bytes = 8 << 20;
  /// A file: of each line the first word is a pattern with * and ?, matched against every
  /// function, route and task name of a verdict; the rest is why it is expected.
  std::string expected_file{};
};

/// While one lives, the past is remembered and leaks are judged now and then. DebugServer has
/// one; a program that mounts heldby::Handle() makes its own. Those after the first change
/// nothing.
class LeakWatch {
 public:
  /// kInvalidArgument  a window under a second or above ten days, history_bytes under 64 KiB,
  ///                   or expected_file cannot be read; the message names it
  [[nodiscard]] static Result<LeakWatch> Start(const LeakWatchOptions& options = {});
  LeakWatch(LeakWatch&& other) noexcept : watched_(std::exchange(other.watched_, nullptr)) {}
  LeakWatch& operator=(LeakWatch&& other) noexcept;
  ~LeakWatch() { Stop(); }
  void Stop();

 private:
  explicit LeakWatch(const void* watched) : watched_(watched) {}
  const void* watched_;  // by this process; a forked child's copy stops nothing
};

/// What changed since then: of "heap", "allocs", "goroutine" or "connections", as the profile
/// of that name has it. The comment says which moment it is: the nearest that is remembered, no
/// later than asked for if there is one, and else the oldest.
///
/// kNotFound      there is no past of a profile of that name
/// kUnavailable   nobody watches, or nothing is remembered yet; of the heap also when its hooks
///                are not active
[[nodiscard]] Result<Profile> ProfileSince(const std::string& name,
                                           std::chrono::nanoseconds ago);

}  // namespace heldby
