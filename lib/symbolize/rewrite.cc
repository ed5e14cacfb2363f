#include "symbolize/rewrite.h"

#include <limits>
#include <string>
#include <utility>

#include "profile/arithmetic.h"
#include "profile/interner.h"

namespace heldby::symbolize {
namespace {

class Rewriter {
 public:
  Rewriter(const Profile& from, const Segment* main) : from_(from) {
    if (main != nullptr) InternSegment(*main);
  }

  Profile Run(std::span<const Place> places) {
    for (const Function& function : from_.functions) functions_.Intern(function);
    std::vector<LocationId> moved;
    moved.reserve(from_.locations.size());
    std::size_t next = 0;
    for (const Location& location : from_.locations) {
      Location made = IsBare(location) ? Named(location, places[next++]) : Kept(location);
      moved.push_back(LocationId{locations_.Intern(std::move(made))});
    }
    for (const Sample& sample : from_.samples) Add(sample, moved);

    Profile to = from_;
    to.mappings = mappings_.Take();
    to.functions = functions_.Take();
    to.locations = locations_.Take();
    to.samples = samples_.Take();
    return to;
  }

 private:
  std::uint32_t InternSegment(const Segment& segment) {
    Mapping mapping;
    mapping.start = segment.start;
    mapping.limit = segment.limit;
    mapping.file_offset = segment.file_offset;
    mapping.filename = segment.module->path;
    mapping.build_id = segment.module->build_id;
    // Every location gets a line, if only its place: so no client needs to look again, and
    // `go tool pprof` must not, for it would put worse names over ours.
    mapping.has_functions = true;
    return mappings_.Intern(std::move(mapping));
  }

  std::uint32_t InternUnknown() {
    Mapping mapping;
    mapping.limit = std::numeric_limits<std::uint64_t>::max();
    mapping.filename = kUnknown;
    mapping.has_functions = true;
    return mappings_.Intern(std::move(mapping));
  }

  Location Kept(Location location) {
    const Mapping& mapping = from_.mappings[static_cast<std::size_t>(location.mapping) - 1];
    const std::uint32_t id = mappings_.Intern(mapping);
    location.mapping = MappingId{id};
    for (Line& line : location.lines) Move(&line);
    return location;
  }

  Location Named(const Location& bare, const Place& place) {
    Location location = bare;
    if (place.segment.module == nullptr || place.frames == nullptr) {
      location.mapping = MappingId{InternUnknown()};
      if (location.address == std::numeric_limits<std::uint64_t>::max()) --location.address;
      if (location.lines.empty()) AddLine({kUnknown, kUnknown, "", 0, 0}, &location);
    } else {
      location.mapping = MappingId{InternSegment(place.segment)};
      if (location.lines.empty()) {
        for (const Frame& frame : *place.frames) AddLine(frame, &location);
        Describe(*place.frames, &mappings_.at(static_cast<std::uint32_t>(location.mapping)));
        return location;
      }
    }
    if (!bare.lines.empty()) {
      for (Line& line : location.lines) Move(&line);
    }
    return location;
  }

  static void Describe(const Frames& frames, Mapping* mapping) {
    for (const Frame& frame : frames) {
      mapping->has_filenames |= !frame.filename.empty();
      mapping->has_line_numbers |= frame.line != 0;
    }
    mapping->has_inline_frames |= frames.size() > 1;
  }

  void Move(Line* line) {
    const Function& function = from_.functions[static_cast<std::size_t>(line->function) - 1];
    line->function = FunctionId{functions_.Intern(function)};
  }

  void AddLine(const Frame& frame, Location* location) {
    // Where both names are equal, pprof takes them for a linker's and cuts at the first '(' or
    // '<', even in "operator()": then the linker's name is left out, as there is none.
    const bool would_be_cut = frame.name.find_first_of("(<") != std::string::npos;
    const std::string& system =
        frame.system_name.empty() && !would_be_cut ? frame.name : frame.system_name;
    const std::uint32_t id =
        functions_.Intern({frame.name, system, frame.filename, frame.start_line});
    location->lines.push_back({FunctionId{id}, frame.line});
  }

  void Add(const Sample& sample, const std::vector<LocationId>& moved) {
    Sample made = sample;
    for (LocationId& id : made.stack) id = moved[static_cast<std::size_t>(id) - 1];
    const std::size_t known = samples_.size();
    const std::uint32_t id = samples_.Intern(std::move(made));
    if (id > known) return;
    std::vector<std::int64_t>& sum = samples_.at(id).values;
    for (std::size_t i = 0; i < sum.size() && i < sample.values.size(); ++i) {
      sum[i] = SaturatingAdd(sum[i], sample.values[i]);
    }
  }

  const Profile& from_;
  Interner<Mapping> mappings_;
  Interner<Function> functions_;
  Interner<Location> locations_;
  Interner<Sample> samples_;
};

}  // namespace

Profile Rewrite(const Profile& profile, std::span<const Place> places, const Segment* main) {
  return Rewriter(profile, main).Run(places);
}

}  // namespace heldby::symbolize
