// symbolize/resolve.h - one batch of addresses, from module list and cache to frames.
//
// Threads  Lookup: under the owner's lock. Resolve: any, without it.
// Signals  unsafe.
// Source   split in two so that the slow half (files, child) runs without the lock.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "symbolize/frames.h"
#include "symbolize/modules.h"
#include "symbolize/result_cache.h"
#include "symbolize/symbolizer.h"

namespace heldby::symbolize {

struct Place {
  Segment segment;                       // module == nullptr: in no module
  std::uint64_t offset = 0;              // in the module's file
  std::shared_ptr<const Frames> frames;  // nullptr: to be resolved
  bool with_lines = false;               // `frames` have what DWARF says, if there is any
};

/// How much is asked for.
enum class Detail {
  kNames,       // no helper
  kLines,       // the helper, for what the cache has no lines of
  kKnownLines,  // lines that the cache has, names for the rest: the helper rests
};

struct ResolveCounts {
  std::uint64_t helper_runs = 0;
  std::uint64_t helper_failures = 0;
};

/// Names and full answers are cached apart: asking for a name must not cost the next profile
/// its lines. Module ids stay far below the bit that tells them apart.
[[nodiscard]] inline ResultCache::Key CacheKey(const Place& place, bool lines) {
  return {place.segment.module->id | (lines ? 0x8000'0000u : 0u), place.offset};
}

/// Where each address is, with what the cache knows of it.
[[nodiscard]] std::vector<Place> Lookup(std::span<const std::uint64_t> addresses, Detail detail,
                                        const ModuleMap& modules, ResultCache* cache);

/// Fills the frames still missing, with lines only for kLines. A helper that failed has still
/// answered some: those have `with_lines`.
ResolveCounts Resolve(const Symbolizer::Options& options, Detail detail,
                      std::vector<Place>* places);

}  // namespace heldby::symbolize
