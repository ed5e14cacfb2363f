// exporters/report/pattern.h - a regular expression from the command line or from a profile.
//
// Threads  Found(), Matches(): any.
// Signals  unsafe: allocates.
// Bounds   4096 characters. Matching takes time in proportion to pattern times text: no
//          backtracking, as in the Go client, so that no profile's pattern can hang a report.
// Source   ECMAScript's syntax, which is Go's for all but (?P<name>...), \z, \Q...\E and
//          Unicode classes; a leading (?i) is understood.
#pragma once

#include <regex>
#include <string>
#include <string_view>

#include "heldby/status.h"

namespace heldby::report {

class Pattern {
 public:
  /// kInvalidArgument  the message has `what`, the text and the reason.
  [[nodiscard]] static Result<Pattern> Compile(std::string_view what, std::string_view text);

  /// Somewhere in `text`.
  [[nodiscard]] bool Found(std::string_view text) const;

  /// `text` as a whole.
  [[nodiscard]] bool Matches(std::string_view text) const;

 private:
  explicit Pattern(std::regex regex) : regex_(std::move(regex)) {}

  std::regex regex_;
};

}  // namespace heldby::report
