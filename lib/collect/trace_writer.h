// collect/trace_writer.h - the growing part of a Trace: texts once, events with arguments.
//
// Threads  one at a time.   Signals  unsafe: allocates.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "collect/holders.h"
#include "collect/safe_text.h"
#include "core/core.h"
#include "heldby/trace.h"
#include "profile/flat_hash.h"

namespace heldby::collect {

using TraceArguments = std::vector<std::pair<std::string, std::string>>;

inline constexpr std::pair<const char*, const char*> kTraceBefore = {"begin",
                                                                     "before the trace"};
inline constexpr std::pair<const char*, const char*> kTraceAfter = {
    "end", "still there when the trace ended"};

/// One that is shown as being there, and the state in it that is shown now.
struct TraceLife {
  TraceSubject subject{};
  std::uint64_t id = 0;
  std::uint32_t name = 0;   // texts
  std::uint32_t state = 0;  // 0: none
};

/// What is begun and ended in the order of numbers looks the same every time.
template <typename Map>
std::vector<typename Map::key_type> SortedKeys(const Map& map) {
  std::vector<typename Map::key_type> keys;
  for (const auto& [key, value] : map) keys.push_back(key);
  std::ranges::sort(keys);
  return keys;
}

class TraceWriter {
 public:
  TraceWriter(const core::RegistryApi& registry, std::uint64_t start_ns)
      : registry_(registry), start_ns_(start_ns), places_(registry) {
    Text("");
  }

  /// A text's number: 0 for none.
  std::uint32_t Text(const std::string& text);
  /// The program's, read once each.
  std::uint32_t TextAt(const char* address);
  const PlaceTexts::Texts& Place(std::uint32_t place) { return places_.Of(place); }
  /// "labels.KEY" and its value, of each.
  void AddLabels(std::uint32_t labels, TraceArguments* arguments);
  /// "tenant=a, user=b"; empty: there are none.
  std::string LabelText(std::uint32_t labels);

  /// The events from here on happen then.
  void SetTime(std::uint64_t time_ns) { now_ns_ = time_ns > now_ns_ ? time_ns : now_ns_; }
  TraceEvent& Add(TracePhase phase, TraceSubject subject, std::uint64_t id, std::int32_t tid,
                  std::uint32_t name, const TraceArguments& arguments = {});
  [[nodiscard]] TraceLife BeginLife(TraceSubject subject, std::int32_t tid, std::uint32_t name,
                                    const TraceArguments& arguments);
  void EndLife(TraceLife* life, std::int32_t tid, const TraceArguments& arguments = {});
  /// A text; 0: it is in none.
  void SetState(TraceLife* life, std::int32_t tid, std::uint32_t text);

  std::size_t size() const { return trace_.events.size(); }
  Trace& trace() { return trace_; }

 private:
  const core::RegistryApi& registry_;
  const std::uint64_t start_ns_;
  std::uint64_t now_ns_ = 0;
  std::uint64_t lives_ = 0;
  PlaceTexts places_;
  FlatHashMap<std::string, std::uint32_t> texts_;
  FlatHashMap<const char*, std::uint32_t> addresses_;
  FlatHashMap<std::uint32_t, Labels> labels_;
  const Labels& LabelsOnce(std::uint32_t labels);
  Trace trace_;
};

}  // namespace heldby::collect
