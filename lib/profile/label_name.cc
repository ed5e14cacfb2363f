#include "profile/label_name.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "absl/strings/ascii.h"

namespace heldby {

std::string ProfileLabelName(std::string key) {
  static constexpr std::array<std::string_view, 15> kOurs = {
      "age",       "attribution", "bytes",   "connection", "created_by",
      "direction", "goroutine",   "holder",  "peer",       "state",
      "task",      "thread",      "task_id", "parked",     "problem"};
  for (char& c : key) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c))) c = '_';
  }
  const bool is_ours = std::ranges::find(kOurs, key) != kOurs.end();
  if (is_ours || absl::ascii_isdigit(static_cast<unsigned char>(key[0]))) {
    return "user_" + key;
  }
  return key;
}

}  // namespace heldby
