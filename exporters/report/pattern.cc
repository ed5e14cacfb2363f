#include "exporters/report/pattern.h"

#include <utility>

#include "profile/text.h"

namespace heldby::report {

constexpr std::size_t kMaxPatternBytes = 4096;

Result<Pattern> Pattern::Compile(std::string_view what, std::string_view text) {
  // Not ECMAScript's default matcher, which recurses per character of the text and tries for
  // ever.
  auto flags = std::regex::ECMAScript | std::regex_constants::__polynomial;
  std::string_view body = text;
  if (body.starts_with("(?i)")) {
    body.remove_prefix(4);
    flags |= std::regex::icase;
  }
  const auto invalid = [&](std::string_view why) {
    return Status(StatusCode::kInvalidArgument,
                  Concat(what, " is \"", text.substr(0, 200), "\": ", why,
                         "; accepted: a regular expression of at most 4096 characters"));
  };
  if (text.size() > kMaxPatternBytes) return invalid("too long");
  try {
    return Pattern(std::regex(body.begin(), body.end(), flags));
  } catch (const std::regex_error& error) {
    return invalid(error.what());
  }
}

bool Pattern::Found(std::string_view text) const {
  return std::regex_search(text.begin(), text.end(), regex_);
}

bool Pattern::Matches(std::string_view text) const {
  return std::regex_match(text.begin(), text.end(), regex_);
}

}  // namespace heldby::report
