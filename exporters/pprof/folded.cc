// Folded stacks: what flamegraph.pl and its descendants read.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "exporters/pprof/text.h"

namespace heldby {
namespace {

// A separator of this format, or a control character, must not be in a name.
std::string FrameName(std::string name) {
  for (char& c : name) {
    if (c == ';') c = ':';
    if (static_cast<unsigned char>(c) < 0x20) c = '?';
  }
  return name;
}

void AppendFrame(const Profile& profile, const Location& location, std::string* text) {
  if (location.lines.empty()) {
    absl::StrAppend(text, text->empty() ? "" : ";", "0x", absl::Hex(location.address));
  }
  for (auto line = location.lines.rbegin(); line != location.lines.rend(); ++line) {
    const auto& function = profile.functions[static_cast<std::size_t>(line->function) - 1];
    absl::StrAppend(text, text->empty() ? "" : ";", FrameName(function.name));
  }
}

}  // namespace

std::string FoldedText(const Profile& profile) {
  const std::int64_t period = std::max<std::int64_t>(profile.period, 1);
  std::string text;
  for (const Sample& sample : profile.samples) {
    const std::int64_t count = (sample.values.back() + period / 2) / period;
    if (count == 0) continue;
    std::string stack;
    for (auto id = sample.stack.rbegin(); id != sample.stack.rend(); ++id) {
      AppendFrame(profile, profile.locations[static_cast<std::size_t>(*id) - 1], &stack);
    }
    absl::StrAppend(&text, stack, " ", count, "\n");
  }
  return text;
}

}  // namespace heldby
