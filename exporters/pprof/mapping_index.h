// exporters/pprof/mapping_index.h - addresses under the mappings of a file that lists both.
//
// Threads  one at a time.
// Signals  unsafe: allocates.
// Source   docs/formats.md.
#pragma once

#include <cstdint>
#include <vector>

#include "heldby/profile.h"
#include "profile/builder.h"

namespace heldby::legacy {

/// mapping[0] is the program, by which readers name the whole profile.
void PutProgramFirst(std::vector<Mapping>* mappings);

/// Of addresses outside of all. Scrapers want a mapping everywhere; the bracket keeps
/// symbolizers from opening it.
Mapping Unmapped();

/// Finds the mapping of an address among ranges that do not overlap.
class MappingIndex {
 public:
  MappingIndex(const std::vector<Mapping>& mappings, ProfileBuilder* builder);
  MappingId Find(std::uint64_t address) const;

 private:
  struct Range {
    std::uint64_t start;
    std::uint64_t limit;
    MappingId id;
  };
  std::vector<Range> ranges_;
};

}  // namespace heldby::legacy
