// exporters/report/filter.h - which samples and frames a report is about.
//
// Threads  any.
// Signals  unsafe: allocates.
// Source   the options of `go tool pprof` of the same names, in its order of application.
#pragma once

#include <string>
#include <vector>

#include "heldby/profile.h"
#include "heldby/status.h"

namespace heldby::report {

/// Each empty: not asked for. Patterns are searched in function names, file names and the names
/// of mappings; tag filters are `key=pattern`, `pattern` (of "key:value"), or a range of a
/// numeric label: `bytes=4mb:`, `:64kb`, `12kb:64mb`.
struct Filters {
  std::string focus{};      // only samples with such a frame
  std::string ignore{};     // none with such a frame
  std::string hide{};       // without such frames
  std::string show{};       // with such frames only
  std::string tagfocus{};   // only samples with such a label
  std::string tagignore{};  // none with such a label
};

/// What drop_frames and keep_frames of the profile ask for: a matching frame goes, with all
/// that it called, unless nothing else would be nearer the root. kInvalidArgument  drop_frames
/// or keep_frames is no regular expression.
[[nodiscard]] Status DropUninteresting(Profile* profile);

/// A frame at the root of every stack for each of these labels, named after its value; the
/// first is the outermost. `unit` is what numbers are shown in.
void AddTagRoots(Profile* profile, const std::vector<std::string>& keys,
                 const std::string& unit);

/// Also drops samples without any frame. `warnings` gets a line for each filter that nothing
/// matched.
/// kInvalidArgument  the message names the filter.
[[nodiscard]] Status Apply(const Filters& filters, Profile* profile,
                           std::vector<std::string>* warnings);

}  // namespace heldby::report
