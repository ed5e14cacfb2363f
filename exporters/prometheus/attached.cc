#include "exporters/prometheus/attached.h"

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "heldby/metrics.h"
#include "heldby/self.h"

namespace heldby {
namespace {

struct Source {
  std::function<std::string()> text;
  bool is_over = false;  // ended within a call: it goes when the calls are over
};

struct Attached {
  std::timed_mutex
      mutex;  // held while their functions run: Detach() waits for the end of a call
  std::map<std::uint64_t, Source> sources;
  std::atomic<std::int64_t> dropped_total{0};
};

// Of all there ever were: a forked child's may not be taken for one of its parent's.
std::atomic<std::uint64_t> last_id{0};

// Whose functions this thread is calling.
thread_local Attached* calling = nullptr;

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
  static std::atomic<bool> is_told_of_forks{false};
  if (is_told_of_forks.exchange(true)) return *mine;
  RunInForkedChildren([] {
    // Sources stay, unless the lock was held: their functions are in the child, too.
    Attached* parents = attached.load(std::memory_order_relaxed);
    if (parents == nullptr) return;  // lost by the parent in the same way
    if (parents->mutex.try_lock()) {
      parents->mutex.unlock();
    } else {
      attached.store(nullptr, std::memory_order_relaxed);
    }
  });
  return *mine;
}

// The lock, but in a function that is called under it: the last owner of a Collectable may let
// go of it during a scrape, and with it ends what it has attached.
class Access {
 public:
  explicit Access(Attached& here) : lock_(here.mutex, std::defer_lock) {
    if (calling != &here) lock_.lock();
  }
  [[nodiscard]] bool is_within_call() const { return !lock_.owns_lock(); }

 private:
  std::unique_lock<std::timed_mutex> lock_;
};

}  // namespace

AttachedMetrics::AttachedMetrics(std::function<std::string()> text) : id_(0) {
  const UnsampledScope unsampled;
  Attached& here = Here();
  const Access access(here);
  const std::uint64_t id = ++last_id;
  here.sources.emplace(id, Source{std::move(text)});
  id_ = id;
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
  const Access access(here);
  const auto found = here.sources.find(id);
  if (found == here.sources.end()) return;
  if (access.is_within_call()) {
    found->second.is_over = true;  // it may be the one that is running
    return;
  }
  gone = std::move(found->second.text);
  here.sources.erase(found);
}

namespace prometheus_text {

void AppendAttached(FamilyNames* written, std::string* text) {
  constexpr std::size_t kMostBytes = 1 << 20;
  Attached& here = Here();
  if (calling == &here) return;  // a function that asks for the page it is called for
  std::vector<std::function<std::string()>> gone;  // end without the lock
  // Somebody's function may wait for ever: later scrapes then have our part of the page.
  std::unique_lock lock(here.mutex, std::chrono::seconds(2));
  if (!lock) {
    here.dropped_total.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  const std::uint64_t last = last_id;  // what they attach now is on the next page
  calling = &here;
  for (const auto& [id, source] : here.sources) {
    if (id > last) break;
    if (source.is_over) continue;
    int left_out = 1;
    try {
      const std::string theirs = source.text();
      if (theirs.size() <= kMostBytes) left_out = AppendText(theirs, written, text);
    } catch (...) {  // the program's; what else is on the page is not to blame
    }
    here.dropped_total.fetch_add(left_out, std::memory_order_relaxed);
  }
  calling = nullptr;
  std::erase_if(here.sources, [&gone](auto& entry) {
    if (entry.second.is_over) gone.push_back(std::move(entry.second.text));
    return entry.second.is_over;
  });
}

std::int64_t AttachedDroppedTotal() {
  return Here().dropped_total.load(std::memory_order_relaxed);
}

}  // namespace prometheus_text
}  // namespace heldby
