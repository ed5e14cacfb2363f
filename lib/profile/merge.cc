#include "profile/merge.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "profile/arithmetic.h"
#include "profile/builder.h"
#include "profile/flat_hash.h"
#include "profile/validate.h"

namespace heldby {
namespace {

using MappingKey = std::tuple<std::string, std::uint64_t, std::uint64_t>;

// The kernel maps whole pages; some producers record the file's exact end instead.
std::uint64_t SizeInPages(const Mapping& mapping) {
  constexpr std::uint64_t kPage = 4096;
  const std::uint64_t size_bytes = mapping.limit - mapping.start;
  return size_bytes / kPage + (size_bytes % kPage != 0);
}

MappingKey KeyOf(const Mapping& mapping) {
  return {mapping.build_id.empty() ? mapping.filename : mapping.build_id, SizeInPages(mapping),
          mapping.file_offset};
}

bool IsZero(const Sample& sample) {
  return std::all_of(sample.values.begin(), sample.values.end(),
                     [](std::int64_t value) { return value == 0; });
}

class Merger {
 public:
  explicit Merger(const Profile& first) : builder_(first.sample_types) {
    Profile& header = builder_.header();
    header.drop_frames = first.drop_frames;
    header.keep_frames = first.keep_frames;
    header.period_type = first.period_type;
    header.default_sample_type = first.default_sample_type;
    header.doc_url = first.doc_url;
  }

  /// REQUIRES: ValidateFormat(source).
  void Add(const Profile& source, bool negative);

  /// For every header field that is not simply the first one's.
  Profile& header() { return builder_.header(); }

  Profile Build() &&;

 private:
  // Numbers of the source being added -> numbers of the result; 0: not met yet.
  struct Renumbering {
    std::vector<MappingId> mappings;
    std::vector<FunctionId> functions;
    std::vector<LocationId> locations;
  };

  // What all sources of one mapping have in common, applied when all are known.
  struct Joint {
    MappingId id = MappingId::kNone;
    std::uint64_t start = 0;
    Mapping merged;
  };

  MappingId Add(const Mapping& mapping);
  LocationId Add(const Profile& source, LocationId id, Renumbering* renumbering);

  ProfileBuilder builder_;
  std::vector<Joint> joints_;
  FlatHashMap<MappingKey, std::size_t> joint_by_key_;
};

MappingId Merger::Add(const Mapping& mapping) {
  const auto [it, is_new] = joint_by_key_.try_emplace(KeyOf(mapping), joints_.size());
  if (is_new) {
    joints_.push_back({builder_.AddMapping(mapping), mapping.start, mapping});
    return joints_.back().id;
  }
  Joint& joint = joints_[it->second];
  Mapping& merged = joint.merged;
  merged.limit = std::max(merged.limit, merged.start + (mapping.limit - mapping.start));
  // A flag promises something about every location of the mapping.
  merged.has_functions &= mapping.has_functions;
  merged.has_filenames &= mapping.has_filenames;
  merged.has_line_numbers &= mapping.has_line_numbers;
  merged.has_inline_frames &= mapping.has_inline_frames;
  return joint.id;
}

LocationId Merger::Add(const Profile& source, LocationId id, Renumbering* renumbering) {
  const std::size_t index = static_cast<std::size_t>(id) - 1;
  if (LocationId known = renumbering->locations[index]; known != LocationId{}) return known;

  const Location& location = source.locations[index];
  MappingId mapping = MappingId::kNone;
  std::uint64_t address = location.address;
  if (location.mapping != MappingId::kNone) {
    const std::size_t from = static_cast<std::size_t>(location.mapping) - 1;
    MappingId& to = renumbering->mappings[from];
    if (to == MappingId::kNone) to = Add(source.mappings[from]);
    mapping = to;
    const std::size_t joint = joint_by_key_.at(KeyOf(source.mappings[from]));
    address += joints_[joint].start - source.mappings[from].start;  // modulo 2^64
  }
  std::vector<Line> lines = location.lines;
  for (Line& line : lines) {
    const std::size_t from = static_cast<std::size_t>(line.function) - 1;
    FunctionId& to = renumbering->functions[from];
    if (to == FunctionId{}) to = builder_.AddFunction(source.functions[from]);
    line.function = to;
  }
  return renumbering->locations[index] =
             builder_.AddLocation(mapping, address, std::move(lines));
}

void Merger::Add(const Profile& source, bool negative) {
  Renumbering renumbering{std::vector<MappingId>(source.mappings.size()),
                          std::vector<FunctionId>(source.functions.size()),
                          std::vector<LocationId>(source.locations.size())};
  // Whether or not a sample touches it, mapping[0] is how a profile says whose it is.
  if (joints_.empty() && !source.mappings.empty()) Add(source.mappings[0]);

  std::vector<std::int64_t> values;
  for (const Sample& sample : source.samples) {
    if (IsZero(sample)) continue;
    std::vector<LocationId> stack;
    stack.reserve(sample.stack.size());
    for (LocationId id : sample.stack) stack.push_back(Add(source, id, &renumbering));
    values = sample.values;
    if (negative) {
      for (std::int64_t& value : values) value = SaturatingNegate(value);
    }
    builder_.AddSample(std::move(stack), values, sample.labels);
  }
  for (const std::string& comment : source.comments) {
    std::vector<std::string>& all = builder_.header().comments;
    if (std::find(all.begin(), all.end(), comment) == all.end()) all.push_back(comment);
  }
}

Profile Merger::Build() && {
  Profile profile = std::move(builder_).Build();
  for (Joint& joint : joints_) {
    profile.mappings[static_cast<std::size_t>(joint.id) - 1] = std::move(joint.merged);
  }
  return profile;
}

// A sum can be zero where no summand was; what only such samples used goes with them.
Profile WithoutZeroSamples(Profile profile) {
  if (std::none_of(profile.samples.begin(), profile.samples.end(), IsZero)) return profile;
  Merger merger(profile);
  merger.Add(profile, /*negative=*/false);
  merger.header().time_ns = profile.time_ns;
  merger.header().duration_ns = profile.duration_ns;
  merger.header().period = profile.period;
  return std::move(merger).Build();
}

Status CheckAgreement(const Profile& first, const Profile& other, std::size_t index) {
  if (Status status = ValidateFormat(other); !status.ok()) {
    return Status(status.code(), absl::StrCat("profile ", index, ": ", status.message()));
  }
  if (first.sample_types != other.sample_types) {
    return Status(
        StatusCode::kInvalidArgument,
        absl::StrCat("profile ", index, ": its sample types are not those of profile 0"));
  }
  if (first.period_type != other.period_type) {
    return Status(
        StatusCode::kInvalidArgument,
        absl::StrCat("profile ", index, ": its period type is ", other.period_type.type, "/",
                     other.period_type.unit, ", that of profile 0 is ", first.period_type.type,
                     "/", first.period_type.unit));
  }
  return Status();
}

}  // namespace

Result<Profile> Merge(absl::Span<const Profile* const> profiles) {
  if (profiles.empty()) return Status(StatusCode::kInvalidArgument, "no profile to merge");
  const Profile& first = *profiles[0];
  Merger merger(first);
  Profile& header = merger.header();
  for (std::size_t i = 0; i < profiles.size(); ++i) {
    const Profile& profile = *profiles[i];
    if (Status status = CheckAgreement(first, profile, i); !status.ok()) return status;
    merger.Add(profile, /*negative=*/false);
    if (header.time_ns == 0 || (profile.time_ns != 0 && profile.time_ns < header.time_ns)) {
      header.time_ns = profile.time_ns;
    }
    header.duration_ns = SaturatingAdd(header.duration_ns, profile.duration_ns);
    header.period = std::max(header.period, profile.period);
  }
  return WithoutZeroSamples(std::move(merger).Build());
}

Result<Profile> Diff(const Profile& after, const Profile& before) {
  for (const auto& [index, profile] : {std::pair{0, &after}, std::pair{1, &before}}) {
    if (Status status = CheckAgreement(after, *profile, index); !status.ok()) return status;
  }
  Merger merger(after);
  merger.Add(after, /*negative=*/false);
  merger.Add(before, /*negative=*/true);
  Profile& header = merger.header();
  header.time_ns = after.time_ns;
  header.duration_ns =
      std::max<std::int64_t>(0, SaturatingAdd(after.time_ns, SaturatingNegate(before.time_ns)));
  header.period = std::max(after.period, before.period);
  return WithoutZeroSamples(std::move(merger).Build());
}

void Scale(Profile* profile, double ratio) {
  for (Sample& sample : profile->samples) {
    for (std::int64_t& value : sample.values) {
      // The two ratios that callers use as exact operations; doubles end at 2^53.
      if (ratio == 1) continue;
      value = ratio == -1 ? SaturatingNegate(value)
                          : SaturatingCast(std::round(static_cast<double>(value) * ratio));
    }
  }
  std::erase_if(profile->samples, IsZero);
}

}  // namespace heldby
