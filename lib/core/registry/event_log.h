// core/registry/event_log.h - what happens to tasks, connections and threads while somebody
// traces.
//
// Threads  Record: any, lock-free. Start to Release: one caller at a time, by the state.
// Signals  Record: safe.   Allocates  never: pages of the kernel's, mapped once.   errno kept.
// Units    nanoseconds of CLOCK_MONOTONIC.
// Bounds   kCapacity events of 32 bytes a trace; what comes after them is dropped and counted.
// Progress Record: no loop.
// Fork     BeginAnewInChild(): nobody traces the child.
//
//   kIdle --Start--> kTracing --Stop--> kStopped --Release--> kIdle
//
// A ticket is one fetch_add of a word that holds the trace's number above and the next slot
// below. A writer that was stopped between its ticket and its event may go on when that trace
// is over and the next one runs, so a slot has one owner at a time:
//
//   done(older trace) --claim: CAS--> busy(this trace) --store(release)--> done(this trace)
//
// Invariants
//   I1  Fields of a slot are written by the one whose CAS made it busy, and by nobody until it
//       is done.
//   I2  A slot that is done(t) holds an event of trace t, whole.
//   I3  Stop() closes every slot that is in nobody's hand, so no event of that trace or of one
//       before it can begin to be written after it.
//   I4  Pages go back only if none of their slots is busy; the addresses stay for ever.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/base/thread_slot.h"

namespace heldby::core {

enum class EventKind : std::uint8_t {
  kNone,
  kTaskBegin,        // id; a parent, b connection, c labels, place made, flags kScope
  kTaskEnd,          // likewise
  kTaskPark,         // id; place
  kTaskEnter,        // id; place parked until now
  kTaskLeave,        // id
  kHolder,           // id task, b connection, c labels: of the thread from now on
  kConnectionBegin,  // id; a descriptor, b task, c labels, flags kOutbound, kImplicit
  kConnectionEnd,    // likewise
  kConnectionState,  // id; a and b the address of a text, low half first
  kConnectionPeer,   // id; a to c 12 bytes of a sockaddr, kRest: the next 12; place its size
  kThreadBegin,      // id the creator's tid
  kThreadEnd,        // id to c: its name
};

/// One event. What id, a, b and c are is the kind's business.
struct Event {
  static constexpr std::uint8_t kScope = 1;
  static constexpr std::uint8_t kOutbound = 1;
  static constexpr std::uint8_t kImplicit = 2;
  static constexpr std::uint8_t kRest = 1;
  static constexpr std::uint8_t kNoticed = 1;  // of a thread: a reader saw it, nobody told

  EventKind kind{};
  std::uint8_t flags = 0;
  std::uint16_t place = 0;
  std::uint32_t id = 0;
  std::uint32_t a = 0;
  std::uint32_t b = 0;
  std::uint32_t c = 0;
  std::int32_t tid = 0;       // filled in by the log
  std::uint64_t time_ns = 0;  // likewise
};

class EventLog {
 public:
  static constexpr std::uint32_t kCapacity = 1 << 18;

  constexpr EventLog() = default;

  /// The whole cost of an operation while nobody traces.
  bool is_on() const { return on_.load(std::memory_order_relaxed); }

  /// REQUIRES: is_on() was true; it may have ended since.
  void Record(const Event& event);

  enum class Started { kYes, kInUse, kNoMemory };
  Started Start();
  /// From here on nothing of this trace is written. REQUIRES: Start() was kYes; once.
  struct Totals {
    std::uint64_t start_ns;
    std::uint64_t end_ns;         // of the trace, or when it was full
    std::uint64_t recorded;       // tickets within the capacity
    std::uint64_t dropped_total;  // beyond it
  };
  Totals Stop();
  /// Of the trace that was stopped: visit(context, event) for each whole event, by slot. The
  /// number of those that were begun and never finished.
  std::uint64_t Visit(void (*visit)(void* context, const Event& event), void* context) const;
  /// Gives the pages back.
  void Release();

  void BeginAnewInChild();

  /// Of all traces, with those that were not finished.
  std::uint64_t dropped() const { return dropped_total_.load(std::memory_order_relaxed); }

 private:
  struct Slot {
    std::atomic<std::uint64_t> tag;   // trace, busy, kind, tid
    std::atomic<std::uint64_t> when;  // time below, place, flags
    std::atomic<std::uint64_t> first;
    std::atomic<std::uint64_t> second;
  };
  static_assert(sizeof(Slot) == 32);
  enum class State : std::uint32_t { kIdle, kTracing, kStopped };

  void Touch();
  void CloseSlots(std::uint32_t trace);
  Slot* Claim(std::uint32_t* trace);
  bool Read(const Slot& slot, Event* event) const;

  std::atomic<bool> on_{false};
  std::atomic<State> state_{State::kIdle};
  std::atomic<Slot*> slots_{nullptr};
  // Full until a trace starts: what is late takes no slot.
  std::atomic<std::uint64_t> next_{kCapacity};
  std::atomic<std::uint64_t> full_ns_{0};
  std::atomic<std::uint64_t> start_ns_{0};
  std::atomic<std::uint64_t> dropped_total_{0};
  std::uint64_t dropped_before_ = 0;
  std::uint32_t used_ = 0;  // slots of the trace that was stopped
  bool has_busy_ = false;
};

/// The one of this process. Constant-initialised.
extern EventLog event_log __attribute__((visibility("hidden")));

}  // namespace heldby::core
