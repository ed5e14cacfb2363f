#include "symbolize/from_files.h"

#include <exception>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "symbolize/modules.h"
#include "symbolize/resolve.h"
#include "symbolize/rewrite.h"

namespace heldby::symbolize {
namespace {

class Files {
 public:
  explicit Files(Profile* profile) : profile_(*profile), segments_(profile->mappings.size()) {}

  // nullptr: no names from there.
  const Segment* SegmentOf(MappingId id) {
    if (id == MappingId::kNone) return nullptr;
    const std::size_t place = static_cast<std::size_t>(id) - 1;
    std::optional<Segment>& segment = segments_[place];
    if (!segment) segment = Open(profile_.mappings[place]);
    return segment->module != nullptr ? &*segment : nullptr;
  }

 private:
  Segment Open(const Mapping& mapping) {
    Segment segment{mapping.start, mapping.limit, mapping.file_offset, nullptr};
    if (!mapping.filename.starts_with('/') || mapping.build_id.empty()) return segment;
    // The pieces of a file share what was found out about it.
    auto& module = modules_[{mapping.filename, mapping.build_id}];
    if (!module) {
      auto made = std::make_shared<Module>();
      made->id = static_cast<std::uint32_t>(modules_.size());
      made->path = mapping.filename;
      made->build_id = mapping.build_id;
      segment.module = made;
      module = OpenModule(segment).valid() ? made : nullptr;
      if (*module == nullptr) {
        profile_.comments.push_back("heldby: no names of " + mapping.filename +
                                    ": not here, or not the build that was running");
      }
    }
    segment.module = *module;
    return segment;
  }

  Profile& profile_;
  std::vector<std::optional<Segment>> segments_;  // by mapping
  std::map<std::pair<std::string, std::string>, std::optional<std::shared_ptr<const Module>>>
      modules_;
};

Segment Nameless(const Mapping& mapping) {
  auto module = std::make_shared<Module>();
  module->path = mapping.filename;
  module->build_id = mapping.build_id;
  return {mapping.start, mapping.limit, mapping.file_offset, std::move(module)};
}

}  // namespace

void SymbolizeFromFiles(Profile* profile, const Symbolizer::Options& options) noexcept try {
  Profile named = *profile;
  Files files(&named);
  std::vector<Place> places;
  for (Location& location : named.locations) {
    const Segment* segment =
        location.lines.empty() ? files.SegmentOf(location.mapping) : nullptr;
    if (segment == nullptr) continue;
    places.push_back({.segment = *segment,
                      .offset = location.address - segment->start + segment->file_offset,
                      .frames = nullptr});
    location.mapping = MappingId::kNone;  // what Rewrite() is to fill in
  }
  Resolve(options, options.lines ? Detail::kLines : Detail::kNames, &places);
  if (named.mappings.empty()) return;
  // The program stays the first, with names or without.
  const Segment* known = files.SegmentOf(MappingId{1});
  const Segment main = known != nullptr ? *known : Nameless(named.mappings[0]);
  *profile = Rewrite(named, places, &main);
  if (known == nullptr) profile->mappings[0].has_functions = false;
} catch (const std::exception&) {
  // Out of memory: the profile is as it was, and a reader can still use its addresses.
}

}  // namespace heldby::symbolize
