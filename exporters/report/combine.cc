#include "exporters/report/combine.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "exporters/pprof/read.h"
#include "exporters/report/filter.h"
#include "exporters/report/shorten.h"
#include "profile/arithmetic.h"
#include "profile/merge.h"

namespace heldby::report {
namespace {

Result<Profile> MergeAll(const std::vector<Profile>& profiles) {
  std::vector<const Profile*> pointers;
  pointers.reserve(profiles.size());
  for (const Profile& profile : profiles) pointers.push_back(&profile);
  Result<Profile> merged = Merge(pointers);
  if (!merged.ok()) return merged;
  // Where pprof's rules are not Merge()'s: the first default that there is, and a time that a
  // profile without one makes unknown.
  merged->time_ns = 0;
  for (const Profile& profile : profiles) {
    if (merged->time_ns == 0 || profile.time_ns < merged->time_ns) {
      merged->time_ns = profile.time_ns;
    }
    if (merged->default_sample_type.empty()) {
      merged->default_sample_type = profile.default_sample_type;
    }
  }
  return merged;
}

std::vector<double> Sums(const Profile& profile) {
  std::vector<double> sums(profile.sample_types.size());
  for (const Sample& sample : profile.samples) {
    for (std::size_t i = 0; i < sums.size(); ++i) {
      sums[i] += static_cast<double>(sample.values[i]);
    }
  }
  return sums;
}

void Normalize(const Profile& base, Profile* profile) {
  const std::vector<double> wanted = Sums(base);
  const std::vector<double> actual = Sums(*profile);
  for (Sample& sample : profile->samples) {
    for (std::size_t i = 0; i < sample.values.size() && i < wanted.size(); ++i) {
      const double ratio = actual[i] == 0 ? 0 : wanted[i] / actual[i];
      if (ratio == 1) continue;
      sample.values[i] =
          SaturatingCast(std::round(static_cast<double>(sample.values[i]) * ratio));
    }
  }
}

}  // namespace

Result<Profile> ReadForReport(std::string_view bytes) {
  bool is_legacy = false;
  Result<Profile> profile = ReadProfile(bytes, &is_legacy);
  if (!profile.ok()) return profile;
  for (Mapping& mapping : profile->mappings) {
    if (is_legacy && mapping.filename == "[unmapped]") mapping.filename.clear();
  }
  // As for pprof: the program is the first mapping, even if nobody said which it is.
  if (profile->mappings.empty()) {
    profile->mappings.emplace_back();
    for (Location& location : profile->locations) location.mapping = MappingId{1};
  }
  return profile;
}

Result<Profile> Combine(const Sources& sources) {
  Result<Profile> result = MergeAll(sources.profiles);
  if (result.ok() && !sources.bases.empty()) {
    Result<Profile> base = MergeAll(sources.bases);
    if (!base.ok()) return base;
    if (sources.normalize) Normalize(*base, &*result);
    for (Sample& sample : base->samples) {
      for (std::int64_t& value : sample.values) value = SaturatingNegate(value);
      if (sources.kind == BaseKind::kCompare) {
        sample.labels.push_back({.key = "pprof::base", .text = "true"});
      }
    }
    std::vector<Profile> both;
    both.push_back(*std::move(result));
    both.push_back(*std::move(base));
    result = MergeAll(both);
  }
  if (!result.ok()) return result;
  if (result->sample_types.empty()) {
    return Status(StatusCode::kInvalidArgument, "the profile has no columns");
  }
  ShortenNames(&*result);
  if (Status status = DropUninteresting(&*result); !status.ok()) return status;
  return result;
}

}  // namespace heldby::report
