#include "symbolize/symbolizer.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <mutex>
#include <optional>
#include <utility>

#include "symbolize/modules.h"
#include "symbolize/resolve.h"
#include "symbolize/result_cache.h"
#include "symbolize/rewrite.h"

namespace heldby::symbolize {

using Clock = std::chrono::steady_clock;

struct Symbolizer::State {
  explicit State(Options given) : options(std::move(given)), cache(options.cache_bytes) {}

  struct Answer {
    std::vector<Place> places;
    std::optional<Segment> main;
  };
  Answer Ask(std::span<const std::uint64_t> addresses, Detail detail);
  void NoteHelperRun(bool failed, Clock::time_point started);

  const Options options;
  mutable std::mutex mutex;
  ModuleMap modules;  // guarded by mutex
  ResultCache cache;  // guarded by mutex
  Stats stats;        // guarded by mutex
  // Guarded by mutex:
  Clock::time_point helper_rests_until = Clock::time_point::min();
  Clock::time_point helper_failed_at = Clock::time_point::min();
  std::chrono::milliseconds helper_rest{0};  // the last one; 0: no failure since a success
};

// Requires the mutex. Of runs side by side that fail together only the first counts: eight
// waiting clients must not double the rest eight times.
void Symbolizer::State::NoteHelperRun(bool failed, Clock::time_point started) {
  const Clock::time_point now = Clock::now();
  if (!failed) {
    helper_rest = {};
    helper_rests_until = Clock::time_point::min();
    return;
  }
  if (helper_rest.count() != 0 && started < helper_failed_at) return;
  helper_rest = std::min(std::max(2 * helper_rest, std::chrono::milliseconds(options.rest_ms)),
                         std::chrono::milliseconds(options.max_rest_ms));
  helper_failed_at = now;
  helper_rests_until = now + helper_rest;
}

Symbolizer::State::Answer Symbolizer::State::Ask(std::span<const std::uint64_t> addresses,
                                                 Detail detail) {
  Answer answer;
  const Clock::time_point started = Clock::now();
  std::vector<bool> was_cached(addresses.size());
  {
    const std::lock_guard lock(mutex);
    modules.Refresh();
    if (const Segment* main = modules.main(); main != nullptr) answer.main = *main;
    if (detail == Detail::kLines && started < helper_rests_until) {
      detail = Detail::kKnownLines;
      ++stats.helper_rests_total;
    }
    answer.places = Lookup(addresses, detail, modules, &cache);
  }
  for (std::size_t i = 0; i < answer.places.size(); ++i) {
    was_cached[i] = answer.places[i].frames != nullptr;
  }
  const ResolveCounts counts = Resolve(options, detail, &answer.places);

  const std::lock_guard lock(mutex);
  stats.addresses_total += addresses.size();
  stats.helper_runs_total += counts.helper_runs;
  stats.helper_failures_total += counts.helper_failures;
  if (counts.helper_runs != 0) NoteHelperRun(counts.helper_failures != 0, started);
  for (std::size_t i = 0; i < answer.places.size(); ++i) {
    const Place& place = answer.places[i];
    if (place.segment.module == nullptr || place.frames == nullptr) {
      ++stats.outside_total;
      continue;
    }
    if (place.frames->back().system_name.empty()) ++stats.unnamed_total;
    if (was_cached[i]) {
      ++stats.cached_total;
    } else {
      // Without lines: kept as a name, so that lines are asked for when the helper is back.
      cache.Insert(CacheKey(place, place.with_lines), place.frames);
    }
  }
  stats.cache_bytes = cache.size_bytes();
  return answer;
}

Symbolizer::Symbolizer() : Symbolizer(Options()) {}
Symbolizer::Symbolizer(Options options) : state_(std::make_unique<State>(std::move(options))) {}
Symbolizer::~Symbolizer() = default;

void Symbolizer::Symbolize(Profile* profile) noexcept {
  try {
    std::vector<std::uint64_t> addresses;
    for (const Location& location : profile->locations) {
      if (IsBare(location)) addresses.push_back(location.address);
    }
    const State::Answer answer =
        state_->Ask(addresses, state_->options.lines ? Detail::kLines : Detail::kNames);
    *profile = Rewrite(*profile, answer.places, answer.main ? &*answer.main : nullptr);
  } catch (const std::exception&) {
    // Out of memory: the profile is as it was, and a reader can still use its addresses.
  }
}

std::string Symbolizer::NameOf(std::uint64_t address) noexcept {
  std::vector<std::string> names = NamesOf({&address, 1});
  return names.empty() ? std::string() : std::move(names.front());
}

std::vector<std::string> Symbolizer::NamesOf(
    std::span<const std::uint64_t> addresses) noexcept {
  try {
    const State::Answer answer = state_->Ask(addresses, Detail::kNames);
    std::vector<std::string> names(addresses.size());
    for (std::size_t i = 0; i < names.size(); ++i) {
      const auto& frames = answer.places[i].frames;
      if (frames != nullptr) names[i] = frames->back().system_name;
    }
    return names;
  } catch (const std::exception&) {
    return {};
  }
}

void Symbolizer::NoteModules() noexcept {
  try {
    const std::lock_guard lock(state_->mutex);
    state_->modules.Refresh();
  } catch (const std::exception&) {
    // Out of memory: known at the next profile, if it is still loaded then.
  }
}

Symbolizer::Stats Symbolizer::stats() const {
  const std::lock_guard lock(state_->mutex);
  return state_->stats;
}

}  // namespace heldby::symbolize
