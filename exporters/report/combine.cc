#include "exporters/report/combine.h"

#include <cmath>
#include <cstddef>
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
  return Merge(pointers);
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
  if (!profile.ok() || !is_legacy) return profile;
  for (Mapping& mapping : profile->mappings) {
    if (mapping.filename == "[unmapped]") mapping.filename.clear();
  }
  return profile;
}

Result<Profile> Combine(Sources sources) {
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
    result = Merge({&*result, &*base});
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
