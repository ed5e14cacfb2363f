#include "profile/validate.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "profile/flat_hash.h"
#include "profile/text.h"

namespace heldby {
namespace {

template <typename... Parts>
Status Broken(const Parts&... parts) {
  return Status(StatusCode::kInvalidArgument, Concat(parts...));
}

template <typename Id, typename T>
bool Exists(Id id, const std::vector<T>& table) {
  const auto number = static_cast<std::size_t>(id);
  return number >= 1 && number <= table.size();
}

// --- rules of the format ---

Status CheckTables(const Profile& profile) {
  for (std::size_t i = 0; i < profile.locations.size(); ++i) {
    const Location& location = profile.locations[i];
    if (location.mapping != MappingId::kNone && !Exists(location.mapping, profile.mappings)) {
      return Broken("location ", i, ": mapping ", static_cast<std::uint32_t>(location.mapping),
                    " of ", profile.mappings.size(), " does not exist");
    }
    for (const Line& line : location.lines) {
      if (!Exists(line.function, profile.functions)) {
        return Broken("location ", i, ": function ", static_cast<std::uint32_t>(line.function),
                      " of ", profile.functions.size(), " does not exist");
      }
    }
  }
  return Status();
}

Status CheckSample(const Profile& profile, std::size_t index) {
  const Sample& sample = profile.samples[index];
  if (sample.values.size() != profile.sample_types.size()) {
    return Broken("sample ", index, ": ", sample.values.size(), " values for ",
                  profile.sample_types.size(), " sample types");
  }
  for (LocationId id : sample.stack) {
    if (!Exists(id, profile.locations)) {
      return Broken("sample ", index, ": location ", static_cast<std::uint32_t>(id), " of ",
                    profile.locations.size(), " does not exist");
    }
  }
  for (const Label& label : sample.labels) {
    if (!label.text.empty() && (label.number != 0 || !label.number_unit.empty())) {
      return Broken("sample ", index, ": label ", label.key, " is both text and number");
    }
  }
  return Status();
}

// --- rules for producers ---

// Pyroscope and Alloy know these columns by exact name and unit.
constexpr std::array<std::pair<std::string_view, std::string_view>, 10> kUnitOf = {{
    {"alloc_objects", "count"},
    {"alloc_space", "bytes"},
    {"inuse_objects", "count"},
    {"inuse_space", "bytes"},
    {"contentions", "count"},
    {"delay", "nanoseconds"},
    {"samples", "count"},
    {"cpu", "nanoseconds"},
    {"goroutine", "count"},
    {"threadcreate", "count"},
}};

Status CheckValueType(const ValueType& value_type, std::string_view place) {
  if (value_type.type.empty() || value_type.unit.empty()) {
    return Broken(place, ": type and unit must both be given");
  }
  if (absl::StrContains(value_type.type, '-')) {
    return Broken(place, ": \"", value_type.type, "\" contains '-', which Pyroscope refuses");
  }
  for (const auto& [type, unit] : kUnitOf) {
    if (value_type.type == type && value_type.unit != unit) {
      return Broken(place, ": the unit of ", type, " is ", unit, ", not ", value_type.unit);
    }
  }
  return Status();
}

Status CheckHeader(const Profile& profile) {
  // Alloy differences into an array of four and fails on the fifth.
  if (profile.sample_types.empty() || profile.sample_types.size() > 4) {
    return Broken("sample types: ", profile.sample_types.size(), "; 1 to 4 are accepted");
  }
  bool default_found = profile.default_sample_type.empty();
  for (std::size_t i = 0; i < profile.sample_types.size(); ++i) {
    const ValueType& type = profile.sample_types[i];
    if (Status status = CheckValueType(type, absl::StrCat("sample type ", i)); !status.ok()) {
      return status;
    }
    default_found |= type.type == profile.default_sample_type;
  }
  if (!default_found) {
    return Broken("default sample type: there is no column \"", profile.default_sample_type,
                  "\"");
  }
  if (profile.time_ns <= 0) return Broken("time_ns: ", profile.time_ns, "; it must be given");
  if (profile.duration_ns < 0)
    return Broken("duration_ns: ", profile.duration_ns, " is negative");
  if (profile.period <= 0) return Broken("period: ", profile.period, "; it must be positive");
  if (profile.period_type.type.empty() || profile.period_type.unit.empty()) {
    return Broken("period type: type and unit must both be given");
  }
  if (!profile.doc_url.empty() && !absl::StrContains(profile.doc_url, "://")) {
    return Broken("doc_url: \"", profile.doc_url, "\" is not absolute");
  }
  return Status();
}

Status CheckPlaces(const Profile& profile) {
  for (std::size_t i = 0; i < profile.mappings.size(); ++i) {
    const Mapping& mapping = profile.mappings[i];
    if (mapping.limit < mapping.start) {
      return Broken("mapping ", i, ": ends at 0x", absl::Hex(mapping.limit),
                    ", before it starts at 0x", absl::Hex(mapping.start));
    }
  }
  FlatHashMap<std::uint64_t, std::size_t> first_at;
  for (std::size_t i = 0; i < profile.locations.size(); ++i) {
    const Location& location = profile.locations[i];
    // A scraper's delta takes addresses alone for the identity of a stack.
    if (location.address == 0) return Broken("location ", i, ": address 0");
    if (location.mapping == MappingId::kNone) return Broken("location ", i, ": no mapping");
    const Mapping& mapping = profile.mappings[static_cast<std::size_t>(location.mapping) - 1];
    if (location.address < mapping.start || location.address >= mapping.limit) {
      return Broken("location ", i, ": address 0x", absl::Hex(location.address),
                    " is outside its mapping, 0x", absl::Hex(mapping.start), "-0x",
                    absl::Hex(mapping.limit));
    }
    if (const auto [it, is_new] = first_at.try_emplace(location.address, i); !is_new) {
      return Broken("location ", i, ": has the address of location ", it->second, ", 0x",
                    absl::Hex(location.address));
    }
  }
  return Status();
}

bool IsPlainName(std::string_view name) {
  const auto is_word = [](char c) { return c == '_' || absl::ascii_isalnum(c); };
  return !name.empty() && !absl::ascii_isdigit(name.front()) &&
         std::all_of(name.begin(), name.end(), is_word);
}

// For each label key: is it text, and if a number, in which unit. One answer per profile.
struct LabelKind {
  bool is_text = false;
  std::string_view unit;
};
using LabelKinds = FlatHashMap<std::string, LabelKind>;

Status CheckLabels(const Sample& sample, std::size_t index, LabelKinds* kinds) {
  FlatHashSet<std::string> keys;
  for (const Label& label : sample.labels) {
    if (absl::StartsWith(label.key, "pprof::")) {
      return Broken("sample ", index, ": label ", label.key, ": pprof:: is reserved");
    }
    if (!IsPlainName(label.key)) {
      return Broken("sample ", index, ": label \"", label.key,
                    "\": names are letters, digits and _, and start with no digit");
    }
    if (!keys.insert(label.key).second) {
      return Broken("sample ", index, ": label ", label.key, " has two values");
    }
    const bool is_text = !label.text.empty();
    if (!is_text && label.number_unit.empty()) {
      return Broken("sample ", index, ": label ", label.key,
                    is_text || label.number != 0 ? ": a number without a unit"
                                                 : ": neither text nor a number with a unit");
    }
    const auto [it, is_new] =
        kinds->try_emplace(label.key, LabelKind{is_text, label.number_unit});
    if (!is_new && it->second.is_text != is_text) {
      return Broken("sample ", index, ": label ", label.key,
                    " is text here, a number elsewhere");
    }
    if (!is_new && it->second.unit != label.number_unit) {
      return Broken("sample ", index, ": label ", label.key, " is in ", label.number_unit,
                    " here, in ", it->second.unit, " elsewhere");
    }
  }
  return Status();
}

}  // namespace

Status ValidateFormat(const Profile& profile) {
  if (profile.sample_types.empty()) return Broken("sample types: none; at least 1 is needed");
  if (Status status = CheckTables(profile); !status.ok()) return status;
  for (std::size_t i = 0; i < profile.samples.size(); ++i) {
    if (Status status = CheckSample(profile, i); !status.ok()) return status;
  }
  return Status();
}

Status ValidateProfile(const Profile& profile) {
  if (Status status = ValidateFormat(profile); !status.ok()) return status;
  if (Status status = CheckHeader(profile); !status.ok()) return status;
  if (Status status = CheckPlaces(profile); !status.ok()) return status;
  LabelKinds kinds;
  for (std::size_t i = 0; i < profile.samples.size(); ++i) {
    if (Status status = CheckLabels(profile.samples[i], i, &kinds); !status.ok()) return status;
  }
  return Status();
}

}  // namespace heldby
