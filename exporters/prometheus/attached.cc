#include "exporters/prometheus/attached.h"

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <utility>

#include "heldby/metrics.h"
#include "heldby/self.h"

namespace heldby {
namespace {

struct Attached {
  std::timed_mutex
      mutex;  // held while their functions run: Detach() waits for the end of a call
  std::uint64_t last_id = 0;
  std::map<std::uint64_t, std::function<std::string()>> sources;
  std::atomic<std::int64_t> dropped_total{0};
};

// Never destroyed: a server may still answer while the program's statics go. Made anew in a
// forked child, where another thread may have held the lock; the functions are the parent's.
std::atomic<Attached*> attached{nullptr};

Attached& Here() {
  Attached* now = attached.load(std::memory_order_acquire);
  if (now != nullptr) return *now;
  auto* mine = new Attached;
  if (!attached.compare_exchange_strong(now, mine, std::memory_order_acq_rel)) {
    delete mine;
    return *now;
  }
  RunInForkedChildren([] {
    // Sources stay, unless the lock was held: their functions are in the child, too.
    Attached* parents = attached.load(std::memory_order_relaxed);
    if (parents->mutex.try_lock()) {
      parents->mutex.unlock();
    } else {
      attached.store(nullptr, std::memory_order_relaxed);
    }
  });
  return *mine;
}

}  // namespace

AttachedMetrics::AttachedMetrics(std::function<std::string()> text) : id_(0) {
  const UnsampledScope unsampled;
  Attached& here = Here();
  const std::lock_guard lock(here.mutex);
  id_ = ++here.last_id;
  here.sources.emplace(id_, std::move(text));
}

AttachedMetrics& AttachedMetrics::operator=(AttachedMetrics&& other) noexcept {
  if (this != &other) {
    Detach();
    id_ = std::exchange(other.id_, 0);
  }
  return *this;
}

void AttachedMetrics::Detach() {
  const std::uint64_t id = std::exchange(id_, 0);
  if (id == 0) return;
  std::function<std::string()> gone;  // ends without the lock: it is the program's
  Attached& here = Here();
  const std::lock_guard lock(here.mutex);
  if (const auto found = here.sources.find(id); found != here.sources.end()) {
    gone = std::move(found->second);
    here.sources.erase(found);
  }
}

namespace prometheus_text {

void AppendAttached(FamilyNames* written, std::string* text) {
  constexpr std::size_t kMostBytes = 1 << 20;
  Attached& here = Here();
  // Somebody's function may wait for ever: later scrapes then have our part of the page.
  std::unique_lock lock(here.mutex, std::chrono::seconds(2));
  if (!lock) {
    here.dropped_total.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  for (const auto& [id, source] : here.sources) {
    int left_out = 1;
    try {
      const std::string theirs = source();
      if (theirs.size() <= kMostBytes) left_out = AppendText(theirs, written, text);
    } catch (...) {  // the program's; what else is on the page is not to blame
    }
    here.dropped_total.fetch_add(left_out, std::memory_order_relaxed);
  }
}

std::int64_t AttachedDroppedTotal() {
  return Here().dropped_total.load(std::memory_order_relaxed);
}

}  // namespace prometheus_text
}  // namespace heldby
