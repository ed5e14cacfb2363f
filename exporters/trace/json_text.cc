#include "exporters/trace/json_text.h"

#include <algorithm>
#include <cstddef>

#include "absl/strings/str_cat.h"
#include "profile/utf8.h"

namespace heldby {
void AppendJsonQuoted(std::string* json, std::string_view text) {
  *json += '"';
  while (!text.empty()) {
    const std::size_t size = Utf8CharacterBytes(text);
    const char c = text.front();
    if (size == 0) {
      *json += kReplacementCharacter;
    } else if (c == '"' || c == '\\') {
      *json += '\\';
      *json += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      absl::StrAppend(json, "\\u", absl::Hex(c, absl::kZeroPad4));
    } else {
      json->append(text, 0, size);
    }
    text.remove_prefix(std::max<std::size_t>(size, 1));
  }
  *json += '"';
}

}  // namespace heldby
