// profile/glob.h - does a text match `flush*`?
//
// Threads  any.   Signals  safe.   Allocates  never.
// Progress  at most |pattern| * |text| steps.
//
// fnmatch() will not do: its brackets are those of operator[] and of lambdas.
#pragma once

#include <cstddef>
#include <string_view>

namespace heldby {

/// `*` is any text, `?` any one character, anything else itself. All of `text` has to match.
[[nodiscard]] inline bool MatchesGlob(std::string_view pattern, std::string_view text) {
  std::size_t in_pattern = 0;
  std::size_t in_text = 0;
  // The last star, and where the text it stands for ends so far: a later star can only need it
  // longer, never shorter.
  std::size_t star = std::string_view::npos;
  std::size_t star_ends = 0;
  while (in_text < text.size()) {
    if (in_pattern < pattern.size() && pattern[in_pattern] == '*') {
      star = in_pattern++;
      star_ends = in_text;
    } else if (in_pattern < pattern.size() &&
               (pattern[in_pattern] == '?' || pattern[in_pattern] == text[in_text])) {
      ++in_pattern;
      ++in_text;
    } else if (star != std::string_view::npos) {
      in_pattern = star + 1;
      in_text = ++star_ends;
    } else {
      return false;
    }
  }
  while (in_pattern < pattern.size() && pattern[in_pattern] == '*') ++in_pattern;
  return in_pattern == pattern.size();
}

}  // namespace heldby
