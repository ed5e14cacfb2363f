// collect/trace_writer.h - the growing part of a Trace: texts once, events with arguments.
//
// Threads  one at a time.   Signals  unsafe: allocates.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "collect/holders.h"
#include "collect/safe_text.h"
#include "core/core.h"
#include "heldby/trace.h"

namespace heldby::collect {

using TraceArguments = std::vector<std::pair<std::string, std::string>>;

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
  std::size_t size() const { return trace_.events.size(); }
  Trace& trace() { return trace_; }

 private:
  const core::RegistryApi& registry_;
  const std::uint64_t start_ns_;
  std::uint64_t now_ns_ = 0;
  PlaceTexts places_;
  absl::flat_hash_map<std::string, std::uint32_t> texts_;
  absl::flat_hash_map<const char*, std::uint32_t> addresses_;
  absl::flat_hash_map<std::uint32_t, Labels> labels_;
  const Labels& LabelsOnce(std::uint32_t labels);
  Trace trace_;
};

}  // namespace heldby::collect
