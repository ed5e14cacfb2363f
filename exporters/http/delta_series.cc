#include "exporters/http/delta_series.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <ctime>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "profile/arithmetic.h"
#include "profile/merge.h"
#include "profile/text.h"
#include "profile/trim.h"

namespace heldby::http {
namespace {

constexpr std::size_t kNoColumn = static_cast<std::size_t>(-1);

bool IsCounter(const ValueType& type) {
  constexpr std::string_view kCounters[] = {"alloc_objects", "alloc_space", "contentions",
                                            "delay"};
  return std::ranges::find(kCounters, type.type) != std::end(kCounters);
}

// Two lanes of a multiply-and-rotate hash with different constants.
class Mixer {
 public:
  void Add(std::uint64_t value) {
    a_ = Turn((a_ ^ value) * 0x9e3779b97f4a7c15U);
    b_ = Turn((b_ + value) * 0xc2b2ae3d27d4eb4fU);
  }
  void Add(std::string_view text) {
    Add(text.size());
    for (std::size_t at = 0; at < text.size(); at += 8) {
      std::uint64_t word = 0;
      const std::string_view part = text.substr(at, 8);
      std::copy(part.begin(), part.end(), reinterpret_cast<char*>(&word));
      Add(word);
    }
  }
  std::pair<std::uint64_t, std::uint64_t> Finish() const { return {Turn(a_), Turn(b_)}; }

 private:
  static std::uint64_t Turn(std::uint64_t x) {
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93U;
    return x ^ x >> 29;
  }

  std::uint64_t a_ = 1;
  std::uint64_t b_ = 2;
};

// How long this process has been there. 0: unknown.
std::int64_t ProcessAgeNs() {
  std::ifstream file("/proc/self/stat");
  std::string line;
  std::getline(file, line);
  // The name in parentheses may have blanks; field 22 is the start, in ticks since the boot.
  constexpr std::size_t kStart = 22 - 3;
  const std::vector<std::string> fields =
      absl::StrSplit(line.substr(std::min(line.rfind(')') + 2, line.size())), ' ');
  std::int64_t ticks = 0;
  if (fields.size() <= kStart || !absl::SimpleAtoi(fields[kStart], &ticks)) return 0;
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  const std::int64_t tick_ns = 1'000'000'000 / std::max(1L, sysconf(_SC_CLK_TCK));
  return now.tv_sec * 1'000'000'000 + now.tv_nsec - ticks * tick_ns;
}

}  // namespace

DeltaSeries::Key DeltaSeries::KeyOf(const Profile& profile, const Sample& sample) {
  Mixer mixer;
  mixer.Add(sample.stack.size());
  for (const LocationId id : sample.stack) {
    mixer.Add(profile.locations[static_cast<std::size_t>(id) - 1].address);
  }
  for (const Label& label : sample.labels) {
    mixer.Add(label.key);
    mixer.Add(label.text);
    mixer.Add(static_cast<std::uint64_t>(label.number));
    mixer.Add(label.number_unit);
  }
  return mixer.Finish();
}

Result<std::string> DeltaSeries::Next(const Take& take, const Write& write) {
  return Answer(take, write, /*is_taken=*/true);
}

Result<std::string> DeltaSeries::Peek(const Take& take, const Write& write) {
  return Answer(take, write, /*is_taken=*/false);
}

Result<std::string> DeltaSeries::Answer(const Take& take, const Write& write, bool is_taken) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const Result<Profile> taken = take();
  if (!taken) return taken.status();
  Result<Profile> profile = Merge({&*taken});  // each identity once
  if (!profile) return profile.status();
  std::array<std::size_t, 2> columns = {kNoColumn, kNoColumn};
  for (std::size_t i = 0, found = 0; i < profile->sample_types.size(); ++i) {
    if (found < columns.size() && IsCounter(profile->sample_types[i])) columns[found++] = i;
  }
  // What stands for a stack after this answer; kept aside until the answer is written.
  std::vector<std::pair<Key, Told>> news;
  std::size_t new_keys = 0;
  std::uint64_t dropped = 0;
  for (Sample& sample : profile->samples) {
    const Key key = KeyOf(*profile, sample);
    const auto known = told_.find(key);
    const bool is_dropped = known == told_.end() && told_.size() + new_keys >= max_stacks_;
    Told told = known == told_.end() ? Told{} : known->second;
    for (std::size_t i = 0; i < columns.size() && columns[i] != kNoColumn; ++i) {
      std::int64_t& value = sample.values[columns[i]];
      const std::int64_t total = std::max(value, told[i]);  // never backwards
      value = is_dropped ? 0 : SaturatingAdd(total, SaturatingNegate(told[i]));
      told[i] = total;
    }
    dropped += is_dropped;
    if (is_dropped) continue;
    new_keys += known == told_.end();
    news.emplace_back(key, told);
  }
  if (dropped > 0) {
    profile->comments.push_back(Concat("heldby: ", dropped,
                                       " stacks only with their levels: "
                                       "table of the delta full"));
  }
  // Names come late or not at all when their helper fails; what a stack is must not depend on
  // them, so frames are only trimmed here.
  if (columns[0] != kNoColumn && profile->sample_types[columns[0]].type == "alloc_objects") {
    TrimAllocationFrames(&*profile);
  }
  Result<Profile> delta = Merge({&*profile});  // without what changed nothing
  if (!delta) return delta.status();
  const std::int64_t now_ns = delta->time_ns;
  const std::int64_t age_ns = told_at_ns_ != 0 ? now_ns - told_at_ns_ : ProcessAgeNs();
  delta->duration_ns = std::max<std::int64_t>(age_ns, 1);
  Result<std::string> written = write(*delta);
  if (!written || !is_taken) return written;
  for (const auto& [key, told] : news) told_[key] = told;
  told_at_ns_ = now_ns;
  dropped_total_.fetch_add(dropped, std::memory_order_relaxed);
  return written;
}

std::uint64_t DeltaSeries::dropped_stacks_total() const {
  return dropped_total_.load(std::memory_order_relaxed);
}

bool HasDeltaSeries(std::string_view profile) {
  return profile == "heap" || profile == "block" || profile == "mutex";
}

DeltaSeries* DeltaSeriesSet::Find(std::string_view profile) {
  if (!HasDeltaSeries(profile)) return nullptr;
  return profile == "heap" ? &heap : profile == "block" ? &block : &mutex;
}

std::shared_ptr<DeltaSeriesSet> ProcessDeltaSeries() {
  struct Owned {
    pid_t owner = getpid();
    std::shared_ptr<DeltaSeriesSet> set = std::make_shared<DeltaSeriesSet>();
  };
  static std::atomic<Owned*> current{nullptr};
  Owned* owned = current.load(std::memory_order_acquire);
  while (owned == nullptr || owned->owner != getpid()) {
    // The parent's is left alone, not freed: a thread of the parent may have held its lock.
    auto fresh = std::make_unique<Owned>();
    if (current.compare_exchange_weak(owned, fresh.get(), std::memory_order_acq_rel)) {
      owned = fresh.release();
    }
  }
  return owned->set;
}

std::uint64_t DroppedDeltaStacksTotal() {
  const std::shared_ptr<DeltaSeriesSet> set = ProcessDeltaSeries();
  return set->heap.dropped_stacks_total() + set->block.dropped_stacks_total() +
         set->mutex.dropped_stacks_total();
}

}  // namespace heldby::http
