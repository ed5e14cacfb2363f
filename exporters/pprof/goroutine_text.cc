#include "exporters/pprof/goroutine_text.h"

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "profile/text.h"
#include "profile/validate.h"

namespace heldby {
namespace {

constexpr std::size_t kMostBytes = 64 << 20;

std::string OneLine(std::string text) {
  std::ranges::replace_if(
      text, [](unsigned char c) { return c < 0x20; }, '?');
  return text;
}

const Label* Find(const Sample& sample, std::string_view key) {
  const auto found = std::ranges::find(sample.labels, key, &Label::key);
  return found == sample.labels.end() ? nullptr : &*found;
}
std::string TextOf(const Sample& sample, std::string_view key) {
  const Label* label = Find(sample, key);
  return label == nullptr ? std::string() : label->text;
}
std::int64_t NumberOf(const Sample& sample, std::string_view key) {
  const Label* label = Find(sample, key);
  return label == nullptr ? 0 : label->number;
}

// 3 s, 2 min 5 s, 7 h 20 min: to be read, not parsed.
std::string Age(std::int64_t seconds) {
  if (seconds < 60) return absl::StrCat(seconds, "s");
  if (seconds < 3600) return absl::StrCat(seconds / 60, "m", seconds % 60, "s");
  return absl::StrCat(seconds / 3600, "h", seconds / 60 % 60, "m");
}

// goroutine 17 [sleep, 2 minutes] {parked: "2m5s", route: "/"}:
std::string Header(const Sample& sample) {
  std::string text = absl::StrCat("goroutine ", NumberOf(sample, "goroutine"), " [",
                                  OneLine(TextOf(sample, "state")));
  if (const std::int64_t minutes = NumberOf(sample, "parked") / 60; minutes > 0) {
    absl::StrAppend(&text, ", ", minutes, minutes == 1 ? " minute" : " minutes");
  }
  absl::StrAppend(&text, "] {");
  const char* separator = "";
  for (const Label& label : sample.labels) {
    if (label.key == "goroutine" || label.key == "state" || label.key == "created_by" ||
        label.key == "problem" || label.key == "task_id") {
      continue;
    }
    const std::string value = !label.text.empty()              ? label.text
                              : label.number_unit == "seconds" ? Age(label.number)
                                                               : absl::StrCat(label.number);
    absl::StrAppend(&text, separator, label.key, ": \"", absl::Utf8SafeCEscape(value), "\"");
    separator = ", ";
  }
  return text + "}:\n";
}

void AppendFrame(std::string* text, const Profile& profile, const Location& location) {
  for (const Line& line : location.lines) {
    const Function& function = profile.functions[static_cast<std::size_t>(line.function) - 1];
    absl::StrAppend(text, OneLine(function.name), "\n\t",
                    function.filename.empty() ? "?" : OneLine(function.filename), ":",
                    line.line, "\n");
  }
  if (!location.lines.empty()) return;
  absl::StrAppend(text, "0x", absl::Hex(location.address + 1), "\n\t?:0\n");
}

// "function\nfile:line"
void AppendCreator(std::string* text, const std::string& creator) {
  const auto end = creator.find('\n');
  if (end == creator.npos) return;
  absl::StrAppend(text, "created by ", OneLine(creator.substr(0, end)), "\n\t",
                  OneLine(creator.substr(end + 1)), "\n");
}

}  // namespace

Result<std::string> GoroutineText(const Profile& profile) {
  if (Status status = ValidateFormat(profile); !status.ok()) return status;
  std::string text;
  std::size_t shown = 0;
  for (const Sample& sample : profile.samples) {
    if (text.size() > kMostBytes) break;
    ++shown;
    text += Header(sample);
    if (const std::string problem = TextOf(sample, "problem"); !problem.empty()) {
      absl::StrAppend(&text, "\t", OneLine(problem), "\n");
    }
    for (const LocationId id : sample.stack) {
      AppendFrame(&text, profile, profile.locations[static_cast<std::size_t>(id) - 1]);
    }
    AppendCreator(&text, TextOf(sample, "created_by"));
    text += "\n";
  }
  if (shown < profile.samples.size()) {
    absl::StrAppend(&text, "# ", profile.samples.size() - shown, " more left out\n");
  }
  return text;
}

}  // namespace heldby
