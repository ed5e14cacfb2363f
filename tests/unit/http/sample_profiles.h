// tests/unit/http/sample_profiles.h - a table of profiles with known contents.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "exporters/http/profile_table.h"
#include "heldby/profile.h"

namespace heldby::http {

/// How much one stack of the sample heap has allocated: a test turns it between two snapshots.
inline std::atomic<std::int64_t> g_sample_heap_bytes{4096};

inline Profile OneStack(std::vector<ValueType> types, std::vector<std::int64_t> values) {
  Profile profile;
  profile.sample_types = std::move(types);
  profile.mappings = {{.start = 0x400000,
                       .limit = 0x500000,
                       .file_offset = 0,
                       .filename = "/srv/bin/downloads",
                       .build_id = "abcdef0123456789",
                       .has_functions = true}};
  profile.functions = {{.name = "ReadWholeFile",
                        .system_name = "ReadWholeFile",
                        .filename = "",
                        .start_line = 0}};
  profile.locations = {{.mapping = MappingId{1},
                        .address = 0x401234,
                        .lines = {{.function = FunctionId{1}, .line = 0}}}};
  profile.samples = {{.stack = {LocationId{1}}, .values = std::move(values), .labels = {}}};
  profile.time_ns =
      std::chrono::nanoseconds(std::chrono::system_clock::now().time_since_epoch()).count();
  return profile;
}

inline Result<Profile> TakeSampleHeap(const TakeOptions&) {
  const std::int64_t bytes = g_sample_heap_bytes.load();
  Profile profile = OneStack({{"alloc_objects", "count"},
                              {"alloc_space", "bytes"},
                              {"inuse_objects", "count"},
                              {"inuse_space", "bytes"}},
                             {1, bytes, 1, bytes});
  profile.period_type = {"space", "bytes"};
  profile.period = 524288;
  return profile;
}

inline Result<Profile> TakeSampleCustom(const TakeOptions&) {
  Profile profile = OneStack({{"files", "count"}}, {3});
  profile.period_type = {"files", "count"};
  profile.period = 1;
  return profile;
}

inline Result<Profile> TakeBroken(const TakeOptions&) {
  return Status(StatusCode::kInternal, "table is torn");
}

inline Result<std::string> SampleText(const Profile& profile) {
  return "text of " + std::to_string(profile.samples.size()) + " samples\n";
}

inline std::span<const ProfileEntry> SampleProfiles() {
  static const std::array<ProfileEntry, 3> kEntries = {{
      {"a<b>'&", "Breaks <everything> & more.", TakeBroken, [] { return std::size_t{0}; },
       SampleText},
      {"files", "Open files.", TakeSampleCustom, [] { return std::size_t{3}; }, SampleText,
       /*supports_delta=*/false},
      {"heap", "The sample heap.", TakeSampleHeap, [] { return std::size_t{7}; }, SampleText},
  }};
  return kEntries;
}

inline int symbol_batches = 0;  // calls of SampleSymbolNames()

inline std::vector<std::string> SampleSymbolNames(const std::vector<std::uint64_t>& addresses) {
  ++symbol_batches;
  std::vector<std::string> names;
  for (const std::uint64_t address : addresses) {
    names.emplace_back(address == 0x401234 ? "_ZN4demo13ReadWholeFileEv" : "");
  }
  return names;
}

}  // namespace heldby::http
