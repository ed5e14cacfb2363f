// heldby/leftovers.h: what is left, as a text for people.
#include <algorithm>
#include <cstddef>
#include <exception>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "heldby/leftovers.h"
#include "heldby/self.h"
#include "profile/simplify.h"

namespace heldby {
namespace {

constexpr std::size_t kMostItems = 20;
constexpr std::size_t kMostFrames = 16;

std::string Counted(std::int64_t count, std::string_view what) {
  return absl::StrCat(count, " ", std::string(what), count == 1 ? "" : "s");
}

std::string LabelText(const Leftover& item) {
  std::string text;
  for (const auto& [key, value] : item.labels) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", key, "=", value);
  }
  return text;
}

std::string Title(const Leftover& item) {
  std::string text;
  switch (item.kind) {
    case LeftoverKind::kConnection:
      text = absl::StrCat(Counted(item.count, "connection"), ": ", item.name);
      break;
    case LeftoverKind::kTask:
      text = absl::StrCat(Counted(item.count, "task"), ": ", item.name);
      break;
    case LeftoverKind::kBytes:
      text = absl::StrCat(Counted(item.bytes, "byte"), " in ", Counted(item.count, "block"));
      if (!item.name.empty()) absl::StrAppend(&text, ", allocated for ", item.name);
      break;
  }
  if (item.kind != LeftoverKind::kBytes && item.bytes != 0) {
    absl::StrAppend(&text, ", holds ", Counted(item.bytes, "byte"));
  }
  if (!item.labels.empty()) absl::StrAppend(&text, ", with ", LabelText(item));
  if (!item.state.empty()) absl::StrAppend(&text, ", ", item.state);
  return text;
}

// As C++ has it between quotes.
std::string Literal(std::string_view text) {
  std::string literal = "\"";
  for (const char c : text) {
    if (c == '\n') {
      literal += "\\n";
      continue;
    }
    if (c == '"' || c == '\\') literal += '\\';
    literal += c;
  }
  return literal + "\"";
}

void AppendStack(const std::vector<StackFrame>& stack, std::string* text) {
  for (std::size_t i = 0; i < std::min(stack.size(), kMostFrames); ++i) {
    const StackFrame& frame = stack[i];
    absl::StrAppend(text, "    ", SimplifyFunctionName(frame.function));
    if (!frame.file.empty()) absl::StrAppend(text, "  ", frame.file);
    if (!frame.file.empty() && frame.line != 0) absl::StrAppend(text, ":", frame.line);
    absl::StrAppend(text, "\n");
  }
  if (stack.size() > kMostFrames) {
    absl::StrAppend(text, "    and ",
                    Counted(static_cast<std::int64_t>(stack.size() - kMostFrames), "frame"),
                    " more\n");
  }
}

void AppendItem(const Leftover& item, std::string* text) {
  absl::StrAppend(text, "  ", Title(item), "\n");
  AppendStack(item.stack, text);
  if (!item.waits_in.empty()) {
    absl::StrAppend(text, "   waits in\n");
    AppendStack(item.waits_in, text);
  }
  std::string ways;
  const auto add = [&ways](std::string_view list, std::string_view glob) {
    absl::StrAppend(&ways, ways.empty() ? "" : " or ", ".", std::string(list), " = {",
                    Literal(glob), "}");
  };
  if (!item.name.empty()) add("ignore_names", item.name);
  // Ours, inlined into what called them, say nothing.
  const auto theirs = std::ranges::find_if(item.stack, [](const StackFrame& frame) {
    return !frame.function.starts_with("heldby::");
  });
  if (theirs != item.stack.end()) {
    add("ignore_functions", SimplifyFunctionName(theirs->function));
  }
  if (!item.labels.empty()) {
    add("ignore_labels", absl::StrCat(item.labels[0].first, "=", item.labels[0].second));
  }
  if (!ways.empty()) absl::StrAppend(text, "   to allow it: ", ways, "\n");
}

}  // namespace

std::string Leftovers::Text() const {
  UnsampledScope unsampled;
  if (items.empty()) return {};
  try {
    std::string text = "left behind:\n";
    for (std::size_t i = 0; i < std::min(items.size(), kMostItems); ++i) {
      AppendItem(items[i], &text);
    }
    if (items.size() > kMostItems) {
      absl::StrAppend(&text, "  and ", items.size() - kMostItems, " more\n");
    }
    for (const std::string& sentence : unseen) absl::StrAppend(&text, "  ", sentence, "\n");
    return text;
  } catch (const std::exception&) {
    return "left behind, and no memory to say what\n";
  }
}

}  // namespace heldby
