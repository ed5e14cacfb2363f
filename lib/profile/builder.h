// profile/builder.h - put a profile together from events; equal things become one thing.
//
// Threads  one at a time.
// Signals  unsafe: allocates.
// Units    every value in the unit of its column.
// Bounds   none of its own: the caller caps what it feeds in.
// Source   the identity of a sample is (stack, label set), as in runtime/pprof; the order of
//          labels and the time of arrival are not part of it (docs/formats.md).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "heldby/profile.h"
#include "profile/interner.h"

namespace heldby {

class ProfileBuilder {
 public:
  explicit ProfileBuilder(std::vector<ValueType> sample_types);

  /// Times, period, comments, drop_frames ...: everything that is not a table.
  Profile& header() { return header_; }

  /// The first one added must be the main binary. A mapping already known by range, offset,
  /// file and build id keeps the flags it came with.
  MappingId AddMapping(Mapping mapping);

  FunctionId AddFunction(Function function);

  /// A function whose name is also its system name.
  FunctionId AddFunction(std::string name);

  LocationId AddLocation(MappingId mapping, std::uint64_t address,
                         std::vector<Line> lines = {});

  /// Adds `values` to the sample with this stack (leaf first) and these labels.
  /// REQUIRES: as many values as sample types; ids from this builder.
  void AddSample(std::vector<LocationId> stack, absl::Span<const std::int64_t> values,
                 std::vector<Label> labels = {});

  /// Samples stand in order of first arrival.
  [[nodiscard]] Profile Build() &&;

 private:
  Profile header_;
  Interner<Mapping> mappings_;
  Interner<Function> functions_;
  Interner<Location> locations_;
  Interner<Sample> samples_;
};

}  // namespace heldby
