// exporters/report/combine.h - from what was read to what a report is about.
//
// Threads  any.
// Signals  unsafe: allocates.
// Source   `go tool pprof` with several sources, -base, -diff_base and -normalize.
#pragma once

#include <string_view>
#include <vector>

#include "heldby/profile.h"
#include "heldby/status.h"

namespace heldby::report {

/// ReadProfile(), with "[unmapped]" of older formats as what it means: no file.
[[nodiscard]] Result<Profile> ReadForReport(std::string_view bytes);

enum class BaseKind {
  kSubtract,  // -base: percentages of the difference
  kCompare,   // -diff_base: percentages of the base
};

struct Sources {
  std::vector<Profile> profiles{};  // at least one
  std::vector<Profile> bases{};
  BaseKind kind = BaseKind::kSubtract;
  bool normalize = false;  // scales the sum of the profiles to that of the bases first
};

/// The sum of the profiles less that of the bases, with short names and without the frames that
/// it says to drop.
/// kInvalidArgument  the types of columns or periods differ, or drop_frames is malformed.
[[nodiscard]] Result<Profile> Combine(const Sources& sources);

}  // namespace heldby::report
