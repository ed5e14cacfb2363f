// exporters/report/tag_filter.h - -tagfocus and -tagignore.
//
// Threads  any.
// Signals  unsafe: allocates.
// Source   as `go tool pprof`: a value of digits, with or without a unit, is always a number.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "heldby/profile.h"
#include "heldby/status.h"

namespace heldby::report {

/// The unit of each numeric label: the first that is given, else what the key suggests.
using LabelUnits = std::map<std::string, std::string, std::less<>>;
[[nodiscard]] LabelUnits UnitsOfLabels(const Profile& profile);

using TagFilter = std::function<bool(const Sample&)>;

/// `name` is the option, for the message.
/// kInvalidArgument  no range, and no regular expression.
[[nodiscard]] Result<TagFilter> CompileTagFilter(std::string_view name, std::string_view text,
                                                 LabelUnits units);

}  // namespace heldby::report
