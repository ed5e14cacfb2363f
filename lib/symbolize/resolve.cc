#include "symbolize/resolve.h"

#include <algorithm>
#include <map>
#include <utility>

#include "symbolize/names.h"

namespace heldby::symbolize {
namespace {

// The places of one module that have to be resolved, and their distinct offsets.
struct Batch {
  Segment segment;
  std::vector<std::uint64_t> offsets;
  std::vector<Frames> frames;
};

// By module, so that each file is opened and read through once.
std::map<std::uint32_t, Batch> GroupByModule(const std::vector<Place>& places) {
  std::map<std::uint32_t, Batch> batches;
  for (const Place& place : places) {
    if (place.segment.module == nullptr || place.frames != nullptr) continue;
    Batch& batch = batches[place.segment.module->id];
    batch.segment = place.segment;
    batch.offsets.push_back(place.offset);
  }
  for (auto& [id, batch] : batches) {
    std::sort(batch.offsets.begin(), batch.offsets.end());
    batch.offsets.erase(std::unique(batch.offsets.begin(), batch.offsets.end()),
                        batch.offsets.end());
  }
  return batches;
}

}  // namespace

std::vector<Place> Lookup(std::span<const std::uint64_t> addresses, const ModuleMap& modules,
                          ResultCache* cache) {
  std::vector<Place> places(addresses.size());
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    const Segment* segment = modules.Find(addresses[i]);
    if (segment == nullptr) continue;
    places[i].segment = *segment;
    places[i].offset = addresses[i] - segment->start + segment->file_offset;
    places[i].frames = cache->Find({segment->module->id, places[i].offset});
  }
  return places;
}

ResolveCounts Resolve(const Symbolizer::Options&, bool, std::vector<Place>* places) {
  ResolveCounts counts;
  std::map<std::uint32_t, Batch> batches = GroupByModule(*places);
  for (auto& [id, batch] : batches) {
    NamedModule named = NameOffsets(batch.segment, batch.offsets);
    batch.frames.resize(batch.offsets.size());
    for (std::size_t i = 0; i < batch.offsets.size(); ++i) {
      batch.frames[i].push_back(std::move(named.frames[i]));
    }
  }
  for (Place& place : *places) {
    if (place.segment.module == nullptr || place.frames != nullptr) continue;
    const Batch& batch = batches[place.segment.module->id];
    const auto at = std::lower_bound(batch.offsets.begin(), batch.offsets.end(), place.offset);
    place.frames = std::make_shared<const Frames>(
        batch.frames[static_cast<std::size_t>(at - batch.offsets.begin())]);
  }
  return counts;
}

}  // namespace heldby::symbolize
