#include "profile/trim.h"

#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "profile/builder.h"
#include "profile/drop_frames.h"
#include "profile/simplify.h"
#include "profile/text.h"

namespace heldby {
namespace {

bool IsAllocationPlumbing(const Function& function) {
  static const auto* const entries = new absl::flat_hash_set<std::string_view>(
      std::begin(kAllocationEntries), std::end(kAllocationEntries));
  const std::string name = SimplifyFunctionName(function.name);
  return absl::StartsWith(name, "std::") || absl::StartsWith(name, "__gnu_cxx::") ||
         absl::StartsWith(name, "libstdc++.so") || absl::StartsWith(name, "tcmalloc::") ||
         absl::StartsWith(name, "MallocHook::") || entries->contains(name);
}

class Trimmer {
 public:
  explicit Trimmer(const Profile& profile)
      : profile_(profile),
        builder_(profile.sample_types),
        lines_cut_(profile.locations.size(), 0) {
    plumbing_.reserve(profile.functions.size());
    for (const Function& function : profile.functions) {
      plumbing_.push_back(IsAllocationPlumbing(function));
    }
  }

  Profile Trim() && {
    CopyHeader();
    for (const Mapping& mapping : profile_.mappings) builder_.AddMapping(mapping);
    std::vector<std::size_t> first_kept;
    for (const Sample& sample : profile_.samples) first_kept.push_back(FirstKept(sample));
    for (std::size_t i = 0; i < profile_.samples.size(); ++i) {
      const Sample& sample = profile_.samples[i];
      builder_.AddSample(TrimmedStack(sample, first_kept[i]), sample.values, sample.labels);
    }
    return std::move(builder_).Build();
  }

 private:
  void CopyHeader() {
    Profile& header = builder_.header();
    header.drop_frames = profile_.drop_frames;
    header.keep_frames = profile_.keep_frames;
    header.time_ns = profile_.time_ns;
    header.duration_ns = profile_.duration_ns;
    header.period_type = profile_.period_type;
    header.period = profile_.period;
    header.comments = profile_.comments;
    header.default_sample_type = profile_.default_sample_type;
    header.doc_url = profile_.doc_url;
  }

  const Location& Get(LocationId id) const {
    return profile_.locations[static_cast<std::size_t>(id) - 1];
  }
  bool Plumbing(const Line& line) const {
    return plumbing_[static_cast<std::size_t>(line.function) - 1];
  }

  // How many lines at the leaf side of a location are plumbing.
  std::size_t LeadingPlumbing(const Location& location) const {
    std::size_t count = 0;
    while (count < location.lines.size() && Plumbing(location.lines[count])) ++count;
    return count;
  }

  // Where the sample's stack begins from now on; notes how much of that location goes. The same
  // address is cut alike in every stack: scrapers take addresses for identities.
  std::size_t FirstKept(const Sample& sample) {
    for (std::size_t i = 0; i < sample.stack.size(); ++i) {
      const Location& location = Get(sample.stack[i]);
      const std::size_t cut = LeadingPlumbing(location);
      if (cut < location.lines.size() || location.lines.empty()) {
        lines_cut_[static_cast<std::size_t>(sample.stack[i]) - 1] = cut;
        return i;
      }
    }
    return 0;  // nothing else in it
  }

  std::vector<LocationId> TrimmedStack(const Sample& sample, std::size_t first) {
    std::vector<LocationId> stack;
    for (std::size_t i = first; i < sample.stack.size(); ++i)
      stack.push_back(Copy(sample.stack[i]));
    return stack;
  }

  LocationId Copy(LocationId id) {
    const Location& location = Get(id);
    std::vector<Line> lines;
    for (std::size_t i = lines_cut_[static_cast<std::size_t>(id) - 1];
         i < location.lines.size(); ++i) {
      const Line& line = location.lines[i];
      const Function& function =
          profile_.functions[static_cast<std::size_t>(line.function) - 1];
      lines.push_back({.function = builder_.AddFunction(function), .line = line.line});
    }
    return builder_.AddLocation(location.mapping, location.address, std::move(lines));
  }

  const Profile& profile_;
  ProfileBuilder builder_;
  std::vector<bool> plumbing_;          // by function
  std::vector<std::size_t> lines_cut_;  // by location
};

}  // namespace

void TrimAllocationFrames(Profile* profile) { *profile = Trimmer(*profile).Trim(); }

}  // namespace heldby
