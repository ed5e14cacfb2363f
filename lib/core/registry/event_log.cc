#include "core/registry/event_log.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/page_arena.h"

namespace heldby::core {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;

// A tag: the trace's number in the upper 31 bits, then one bit that says busy, 8 of the kind
// and 24 of the tid, which Linux keeps below 2^22.
constexpr std::uint64_t kBusy = std::uint64_t{1} << 32;
constexpr std::uint64_t TagOf(std::uint32_t trace) { return std::uint64_t{trace} << 33; }
constexpr std::uint32_t TraceOf(std::uint64_t tag) { return tag >> 33; }

// A trace is at most some minutes long: of the time, 40 bits are kept, 18 minutes.
constexpr unsigned kTimeBits = 40;
constexpr std::uint64_t kTimeMask = (std::uint64_t{1} << kTimeBits) - 1;

constexpr std::uint64_t Words(std::uint32_t low, std::uint32_t high) {
  return std::uint64_t{high} << 32 | low;
}

constexpr std::size_t kPageBytes = 4096;
constexpr std::size_t kBytes = std::size_t{EventLog::kCapacity} * 32;
// What Stop() grants a thread that is between its ticket and its event.
constexpr int kPatience = 20;
constexpr long kPatienceStepNs = 1'000'000;

std::int32_t ThisThread() {
  if (thread_slot.tid != 0) return thread_slot.tid;
  const int kept = errno;
  const auto tid = static_cast<std::int32_t>(syscall(SYS_gettid));
  errno = kept;
  return tid;
}

}  // namespace

constinit EventLog event_log;

// A slot that is this thread's to write, or nullptr; the trace it belongs to.
EventLog::Slot* EventLog::Claim(std::uint32_t* trace) {
  // Looked at before it is counted up: the count would run into the trace's number.
  std::uint64_t ticket = next_.load(std::memory_order_acquire);
  if (static_cast<std::uint32_t>(ticket) < kCapacity) {
    ticket = next_.fetch_add(1, std::memory_order_acq_rel);
  }
  const auto index = static_cast<std::uint32_t>(ticket);
  *trace = static_cast<std::uint32_t>(ticket >> 32);
  if (index >= kCapacity) {
    std::uint64_t none = 0;
    if (full_ns_.load(kRelaxed) == 0) full_ns_.compare_exchange_strong(none, NowNs(), kRelaxed);
    return nullptr;
  }
  Slot& slot = slots_.load(std::memory_order_acquire)[index];
  std::uint64_t tag = slot.tag.load(kRelaxed);
  // Closed by Stop(), or still in the hand of one who is a trace late.
  if (TraceOf(tag) >= *trace || (tag & kBusy) != 0) return nullptr;
  if (!slot.tag.compare_exchange_strong(tag, TagOf(*trace) | kBusy, std::memory_order_acquire,
                                        kRelaxed)) {
    return nullptr;
  }
  return &slot;
}

void EventLog::Record(const Event& event) {
  std::uint32_t trace = 0;
  Slot* slot = Claim(&trace);
  if (slot == nullptr) {
    if (is_on()) dropped_total_.fetch_add(1, kRelaxed);
    return;
  }
  slot->when.store((NowNs() & kTimeMask) | std::uint64_t{event.place} << kTimeBits |
                       std::uint64_t{event.flags} << (kTimeBits + 16),
                   kRelaxed);
  slot->first.store(Words(event.id, event.a), kRelaxed);
  slot->second.store(Words(event.b, event.c), kRelaxed);
  slot->tag.store(TagOf(trace) | static_cast<std::uint64_t>(event.kind) << 24 |
                      (static_cast<std::uint32_t>(ThisThread()) & 0xFFFFFF),
                  std::memory_order_release);
}

// A page that is touched for the first time costs more than the events in it, and those who
// write them should not pay for it.
void EventLog::Touch() {
  Slot* slots = slots_.load(kRelaxed);
  for (std::size_t i = 0; i < kCapacity; i += kPageBytes / sizeof(Slot)) {
    slots[i].tag.fetch_or(0, kRelaxed);  // it may be in the hand of one who is late
  }
}

EventLog::Started EventLog::Start() {
  State idle = State::kIdle;
  if (!state_.compare_exchange_strong(idle, State::kTracing, std::memory_order_acq_rel)) {
    return Started::kInUse;
  }
  if (slots_.load(kRelaxed) == nullptr) {
    auto* slots = static_cast<Slot*>(MapPages(kBytes));
    if (slots == nullptr) {
      state_.store(State::kIdle, std::memory_order_release);
      return Started::kNoMemory;
    }
    slots_.store(slots, std::memory_order_release);
  }
  Touch();
  const std::uint64_t trace = (next_.load(kRelaxed) >> 32) + 1;
  dropped_before_ = dropped_total_.load(kRelaxed);
  full_ns_.store(0, kRelaxed);
  start_ns_.store(NowNs(), kRelaxed);
  next_.store(trace << 32, std::memory_order_release);
  on_.store(true, std::memory_order_release);
  return Started::kYes;
}

// Who is between a ticket and its event gets a moment; then every slot that is in nobody's hand
// is closed, those without a ticket too: a writer that is several traces late could take one.
void EventLog::CloseSlots(std::uint32_t trace) {
  Slot* slots = slots_.load(kRelaxed);
  has_busy_ = false;
  int patience = kPatience;
  const int kept = errno;
  for (std::uint32_t i = 0; i < kCapacity; ++i) {
    std::atomic<std::uint64_t>& tag = slots[i].tag;
    const auto is_done = [&tag, trace] {
      const std::uint64_t now = tag.load(kRelaxed);
      return TraceOf(now) == trace && (now & kBusy) == 0;
    };
    for (; i < used_ && !is_done() && patience > 0; --patience) {
      const timespec pause{0, kPatienceStepNs};
      nanosleep(&pause, nullptr);
    }
    std::uint64_t now = tag.load(kRelaxed);
    if ((now & kBusy) == 0 && TraceOf(now) != trace) {
      tag.compare_exchange_strong(now, TagOf(trace), std::memory_order_acq_rel);
    }
    if ((tag.load(kRelaxed) & kBusy) != 0) has_busy_ = true;
  }
  errno = kept;
}

EventLog::Totals EventLog::Stop() {
  on_.store(false, std::memory_order_release);
  std::uint64_t end_ns = NowNs();
  std::uint64_t ticket = next_.load(kRelaxed);
  while (!next_.compare_exchange_weak(ticket, (ticket >> 32) << 32 | kCapacity,
                                      std::memory_order_acq_rel)) {
  }
  const auto trace = static_cast<std::uint32_t>(ticket >> 32);
  used_ = static_cast<std::uint32_t>(ticket);
  if (used_ > kCapacity) used_ = kCapacity;
  CloseSlots(trace);
  const std::uint64_t full_ns = full_ns_.load(kRelaxed);
  // Full without a time: the one that found it so has not written it yet.
  if (used_ == kCapacity && full_ns != 0 && full_ns < end_ns) end_ns = full_ns;
  state_.store(State::kStopped, std::memory_order_release);
  return {start_ns_.load(kRelaxed), end_ns, used_,
          dropped_total_.load(kRelaxed) - dropped_before_};
}

bool EventLog::Read(const Slot& slot, Event* event) const {
  const std::uint64_t tag = slot.tag.load(std::memory_order_acquire);
  const auto kind = static_cast<EventKind>(tag >> 24 & 0xFF);
  if (TraceOf(tag) != next_.load(kRelaxed) >> 32 || (tag & kBusy) != 0 ||
      kind == EventKind::kNone) {
    return false;
  }
  const std::uint64_t when = slot.when.load(kRelaxed);
  const std::uint64_t first = slot.first.load(kRelaxed);
  const std::uint64_t second = slot.second.load(kRelaxed);
  const std::uint64_t start_ns = start_ns_.load(kRelaxed);
  event->kind = kind;
  event->flags = static_cast<std::uint8_t>(when >> (kTimeBits + 16));
  event->place = static_cast<std::uint16_t>(when >> kTimeBits);
  event->id = static_cast<std::uint32_t>(first);
  event->a = static_cast<std::uint32_t>(first >> 32);
  event->b = static_cast<std::uint32_t>(second);
  event->c = static_cast<std::uint32_t>(second >> 32);
  event->tid = static_cast<std::int32_t>(tag & 0xFFFFFF);
  event->time_ns = start_ns + ((when - start_ns) & kTimeMask);
  return true;
}

std::uint64_t EventLog::Visit(void (*visit)(void* context, const Event& event),
                              void* context) const {
  std::uint64_t unfinished = 0;
  for (std::uint32_t i = 0; i < used_; ++i) {
    Event event;
    if (Read(slots_.load(kRelaxed)[i], &event)) {
      visit(context, event);
    } else {
      ++unfinished;
    }
  }
  return unfinished;
}

void EventLog::Release() {
  const int kept = errno;
  if (!has_busy_) madvise(slots_.load(kRelaxed), kBytes, MADV_DONTNEED);
  errno = kept;
  used_ = 0;
  state_.store(State::kIdle, std::memory_order_release);
}

void EventLog::BeginAnewInChild() {
  on_.store(false, kRelaxed);
  next_.store((next_.load(kRelaxed) >> 32) << 32 | kCapacity, kRelaxed);
  const int kept = errno;
  if (Slot* slots = slots_.load(kRelaxed)) madvise(slots, kBytes, MADV_DONTNEED);
  errno = kept;
  used_ = 0;
  state_.store(State::kIdle, std::memory_order_release);
}

}  // namespace heldby::core
