#include "profile/trim.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "profile/arithmetic.h"
#include "profile/drop_frames.h"
#include "profile/interner.h"
#include "profile/simplify.h"

namespace heldby {
namespace {

// Of an allocation, or of heldby/asio.h, which is inlined into what opens a connection.
bool IsPlumbing(const Function& function) {
  const std::string name = SimplifyFunctionName(function.name);
  return absl::StartsWith(name, "std::") || absl::StartsWith(name, "__gnu_cxx::") ||
         absl::StartsWith(name, "libstdc++.so") || absl::StartsWith(name, "tcmalloc::") ||
         absl::StartsWith(name, "MallocHook::") || absl::StartsWith(name, "heldby::asio::") ||
         std::find(std::begin(kAllocationEntries), std::end(kAllocationEntries), name) !=
             std::end(kAllocationEntries);
}

// Of a lock or of a wait, up to the code that locks. Abseil's namespace has one of its own for
// each release in it.
bool IsLockPlumbing(const Function& function) {
  const std::string name = SimplifyFunctionName(function.name);
  if (absl::StartsWith(name, "absl::")) {
    return absl::StrContains(name, "Mutex") || absl::StrContains(name, "CondVar") ||
           absl::StrContains(name, "AtomicHook");
  }
  return absl::StartsWith(name, "std::") || absl::StartsWith(name, "__gnu_cxx::") ||
         absl::StartsWith(name, "__gthread_") || absl::StartsWith(name, "libstdc++.so") ||
         absl::StartsWith(name, "pthread_") || absl::StartsWith(name, "sem_") ||
         absl::StartsWith(name, "heldby::absl_");
}

class Trimmer {
 public:
  Trimmer(Profile& profile, bool (*is_plumbing)(const Function&))
      : profile_(profile), lines_cut_(profile.locations.size(), 0) {
    plumbing_.reserve(profile.functions.size());
    for (const Function& function : profile.functions) {
      plumbing_.push_back(is_plumbing(function));
    }
  }

  // In place: of ten thousand stacks most keep most of what they have, and building the profile
  // anew took three times as long as everything else about it.
  void Trim() {
    for (Sample& sample : profile_.samples) {
      const auto first = static_cast<std::ptrdiff_t>(FirstKept(sample));
      sample.stack.erase(sample.stack.begin(), sample.stack.begin() + first);
    }
    for (std::size_t i = 0; i < lines_cut_.size(); ++i) {
      std::vector<Line>& lines = profile_.locations[i].lines;
      lines.erase(lines.begin(), lines.begin() + static_cast<std::ptrdiff_t>(lines_cut_[i]));
    }
    MergeEqualSamples();
  }

 private:
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

  void MergeEqualSamples() {
    Interner<Sample> merged;
    for (Sample& sample : profile_.samples) {
      std::vector<std::int64_t> values = std::move(sample.values);
      std::vector<std::int64_t>& sum = merged.at(merged.Intern(std::move(sample))).values;
      sum.resize(values.size());
      for (std::size_t i = 0; i < values.size(); ++i) sum[i] = SaturatingAdd(sum[i], values[i]);
    }
    profile_.samples = merged.Take();
  }

  Profile& profile_;
  std::vector<bool> plumbing_;          // by function
  std::vector<std::size_t> lines_cut_;  // by location
};

}  // namespace

void TrimAllocationFrames(Profile* profile) { Trimmer(*profile, &IsPlumbing).Trim(); }

void TrimLockFrames(Profile* profile) { Trimmer(*profile, &IsLockPlumbing).Trim(); }

}  // namespace heldby
