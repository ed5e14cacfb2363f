#include "profile/drop_frames.h"

namespace heldby {

std::string AllocationEntriesPattern() {
  std::string pattern;
  for (const std::string_view entry : kAllocationEntries) {
    if (!pattern.empty()) pattern += '|';
    for (const char c : entry) {
      if (c == '[' || c == ']') pattern += '\\';
      pattern += c;
    }
  }
  return pattern;
}

}  // namespace heldby
