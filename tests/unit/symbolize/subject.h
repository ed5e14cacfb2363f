// What the symbolizer tests share: profiles out of bare addresses, and a look at the result.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "symbolize/symbolizer.h"

namespace heldby::symbolize {

inline Profile BareProfile(const std::vector<std::uint64_t>& addresses) {
  Profile profile;
  profile.sample_types = {{"samples", "count"}};
  for (const std::uint64_t address : addresses) {
    profile.locations.push_back({MappingId::kNone, address, {}});
    Sample sample;
    sample.stack = {LocationId{static_cast<std::uint32_t>(profile.locations.size())}};
    sample.values = {1};
    profile.samples.push_back(sample);
  }
  return profile;
}

inline const Mapping& MappingOf(const Profile& profile, std::size_t location) {
  return profile.mappings.at(static_cast<std::size_t>(profile.locations.at(location).mapping) -
                             1);
}

inline const Function& FunctionOf(const Profile& profile, const Line& line) {
  return profile.functions.at(static_cast<std::size_t>(line.function) - 1);
}

inline std::vector<std::string> NamesAt(const Profile& profile, std::size_t location) {
  std::vector<std::string> names;
  for (const Line& line : profile.locations.at(location).lines) {
    names.push_back(FunctionOf(profile, line).name);
  }
  return names;
}

inline Symbolizer::Options WithHelper() {
  Symbolizer::Options options;
  options.helper_path = HELDBY_SYMBOLIZER;
  return options;
}

}  // namespace heldby::symbolize
