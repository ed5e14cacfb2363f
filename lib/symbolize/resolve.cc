#include "symbolize/resolve.h"

#include <sys/mman.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "symbolize/demangle.h"
#include "symbolize/helper_process.h"
#include "symbolize/names.h"
#include "symbolize/wire.h"

namespace heldby::symbolize {
namespace {

// The places of one module that have to be resolved, by their distinct offsets.
struct Batch {
  Segment segment;
  std::vector<std::uint64_t> offsets;
  NamedModule named;
  std::vector<Frames> frames;
  std::vector<bool> with_lines;
};
using Batches = std::map<std::uint32_t, Batch>;  // by Module::id

// Virtual memory for an answer: pages that stay untouched cost nothing.
class AnswerBuffer {
 public:
  AnswerBuffer()
      : start_(mmap(nullptr, kMaxWireBytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {}
  ~AnswerBuffer() {
    if (start_ != MAP_FAILED) munmap(start_, kMaxWireBytes);
  }
  AnswerBuffer(const AnswerBuffer&) = delete;
  AnswerBuffer& operator=(const AnswerBuffer&) = delete;

  std::span<char> bytes() const {
    if (start_ == MAP_FAILED) return {};
    return {static_cast<char*>(start_), kMaxWireBytes};
  }

 private:
  void* start_;
};

// By module, so that each file is opened and read through once.
Batches GroupByModule(const std::vector<Place>& places) {
  Batches batches;
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

void NameBatch(Batch* batch) {
  batch->named = NameOffsets(batch->segment, batch->offsets);
  for (Frame& frame : batch->named.frames) {
    batch->frames.push_back({frame});
  }
  batch->with_lines.assign(batch->frames.size(), !batch->named.has_dwarf);
}

// Puts what DWARF says over what the symbol table said of one address.
void Improve(Frames dwarf, Frames* frames) {
  const Frame table = frames->back();
  for (Frame& frame : dwarf) {
    if (!frame.system_name.empty()) {
      frame.name = Demangle(frame.system_name);
      if (frame.system_name.size() > 4 * kMaxNameBytes) frame.system_name = frame.name;
    } else {
      frame.name = CapName(std::move(frame.name));
    }
  }
  if (dwarf.empty()) return;
  // Of the real function the linker's name says more than a name without parameters.
  Frame& outer = dwarf.back();
  const bool has_linkage = outer.system_name.starts_with("_Z");
  if (outer.name.empty() || (!has_linkage && !table.system_name.empty())) {
    outer.name = table.name;
    outer.system_name = table.system_name;
  }
  std::erase_if(dwarf, [](const Frame& frame) { return frame.name.empty(); });
  if (!dwarf.empty()) *frames = std::move(dwarf);
}

// One run of the helper for all modules that have DWARF.
void AddLines(const Symbolizer::Options& options, Batches* batches, ResolveCounts* counts) {
  std::vector<WireModule> modules;
  std::vector<std::pair<Batch*, std::vector<std::size_t>>> asked;
  std::vector<int> fds;
  std::size_t addresses = 0;
  for (auto& [id, batch] : *batches) {
    const NamedModule& named = batch.named;
    if (!named.has_dwarf || modules.size() == kMaxWireModules) continue;
    WireModule module{named.file.get(), named.debug_file.get(), {}};
    std::vector<std::pair<std::uint64_t, std::size_t>> order;
    for (std::size_t i = 0; i < named.vaddrs.size(); ++i) {
      if (named.vaddrs[i] != 0) order.emplace_back(named.vaddrs[i], i);
    }
    if (addresses + order.size() > kMaxWireAddresses) continue;
    addresses += order.size();
    std::sort(order.begin(), order.end());
    std::vector<std::size_t> indices;
    for (const auto& [vaddr, index] : order) {
      module.vaddrs.push_back(vaddr);
      indices.push_back(index);
    }
    fds.push_back(module.file_fd);
    if (module.debug_fd >= 0) fds.push_back(module.debug_fd);
    modules.push_back(std::move(module));
    asked.emplace_back(&batch, std::move(indices));
  }
  if (modules.empty()) return;

  ++counts->helper_runs;
  const std::string path =
      options.helper_path.empty() ? DefaultHelperPath() : options.helper_path;
  const AnswerBuffer buffer;
  std::size_t answer_bytes = 0;
  const HelperEnd end = RunHelper(path, EncodeRequest(modules), fds, options.timeout_ms,
                                  buffer.bytes(), &answer_bytes);
  const bool whole =
      DecodeAnswer(buffer.bytes().first(answer_bytes),
                   [&](std::uint32_t module, std::uint32_t address, Frames frames) {
                     if (module >= asked.size() || address >= asked[module].second.size())
                       return;
                     auto& [batch, indices] = asked[module];
                     Improve(std::move(frames), &batch->frames[indices[address]]);
                     batch->with_lines[indices[address]] = true;
                   });
  if (end != HelperEnd::kExited || !whole) {
    ++counts->helper_failures;
    return;
  }
  // Of what has no record, DWARF says nothing.
  for (auto& [batch, indices] : asked) batch->with_lines.assign(batch->frames.size(), true);
}

}  // namespace

std::vector<Place> Lookup(std::span<const std::uint64_t> addresses, Detail detail,
                          const ModuleMap& modules, ResultCache* cache) {
  std::vector<Place> places(addresses.size());
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    const Segment* segment = modules.Find(addresses[i]);
    if (segment == nullptr) continue;
    places[i].segment = *segment;
    places[i].offset = addresses[i] - segment->start + segment->file_offset;
    if (detail != Detail::kNames) {
      places[i].frames = cache->Find(CacheKey(places[i], /*lines=*/true));
      places[i].with_lines = places[i].frames != nullptr;
    }
    if (detail != Detail::kLines && places[i].frames == nullptr) {
      places[i].frames = cache->Find(CacheKey(places[i], /*lines=*/false));
    }
  }
  return places;
}

ResolveCounts Resolve(const Symbolizer::Options& options, Detail detail,
                      std::vector<Place>* places) {
  ResolveCounts counts;
  Batches batches = GroupByModule(*places);
  for (auto& [id, batch] : batches) NameBatch(&batch);
  if (detail == Detail::kLines) AddLines(options, &batches, &counts);
  for (Place& place : *places) {
    if (place.segment.module == nullptr || place.frames != nullptr) continue;
    const Batch& batch = batches[place.segment.module->id];
    const auto at = std::lower_bound(batch.offsets.begin(), batch.offsets.end(), place.offset);
    const auto index = static_cast<std::size_t>(at - batch.offsets.begin());
    place.frames = std::make_shared<const Frames>(batch.frames[index]);
    place.with_lines = detail != Detail::kNames && batch.with_lines[index];
  }
  return counts;
}

}  // namespace heldby::symbolize
