#include "exporters/trace/json_text.h"

#include "absl/strings/str_cat.h"
#include "profile/utf8.h"

namespace heldby {
void AppendJsonQuoted(std::string* json, std::string_view text) {
  *json += '"';
  while (!text.empty()) {
    const std::string_view character = TakeUtf8Character(&text);
    const char c = character.front();
    if (c == '"' || c == '\\') {
      *json += '\\';
      *json += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      absl::StrAppend(json, "\\u", absl::Hex(c, absl::kZeroPad4));
    } else {
      *json += character;
    }
  }
  *json += '"';
}

}  // namespace heldby
