#include "tools/flags.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "profile/text.h"

namespace heldby::tools {

void Flags::Text(std::string_view name, std::string* value) {
  flags_.push_back({std::string(name), true, [value](std::string_view text) {
                      *value = text;
                      return true;
                    }});
}

void Flags::Many(std::string_view name, std::vector<std::string>* values) {
  flags_.push_back({std::string(name), true, [values](std::string_view text) {
                      values->emplace_back(text);
                      return true;
                    }});
}

void Flags::Switch(std::string_view name, bool* value) {
  flags_.push_back({std::string(name), false,
                    [value](std::string_view text) {
                      return text.empty() ? (*value = true)
                                          : absl::SimpleAtob(AsPiece(text), value);
                    },
                    "true or false"});
}

void Flags::Count(std::string_view name, std::size_t* value) {
  flags_.push_back({std::string(name), true,
                    [value](std::string_view text) {
                      std::uint32_t number = 0;
                      if (!absl::SimpleAtoi(AsPiece(text), &number)) return false;
                      *value = number;
                      return true;
                    },
                    "a number, 0 or more"});
}

void Flags::Fraction(std::string_view name, double* value) {
  flags_.push_back({std::string(name), true,
                    [value](std::string_view text) {
                      return absl::SimpleAtod(AsPiece(text), value) && *value >= 0 &&
                             *value <= 1;
                    },
                    "a number from 0 to 1"});
}

void Flags::Action(std::string_view name, std::function<void()> action) {
  flags_.push_back({std::string(name), false,
                    [action = std::move(action)](std::string_view text) {
                      if (text.empty()) action();
                      return text.empty();
                    },
                    "no value"});
}

const Flags::Flag* Flags::Find(std::string_view name) const {
  const auto found = std::ranges::find(flags_, name, &Flag::name);
  return found != flags_.end() ? &*found : nullptr;
}

Status Flags::Unknown(std::string_view name) const {
  std::string accepted;
  for (const Flag& flag : flags_) {
    absl::StrAppend(&accepted, accepted.empty() ? "-" : ", -", flag.name);
  }
  return Status(StatusCode::kInvalidArgument,
                Concat("unknown option \"-", name, "\"; accepted: ", accepted));
}

Result<std::vector<std::string>> Flags::Parse(const std::vector<std::string_view>& arguments) {
  std::vector<std::string> rest;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    std::string_view word = arguments[i];
    if (word == "--") {
      rest.insert(rest.end(), arguments.begin() + static_cast<std::ptrdiff_t>(i) + 1,
                  arguments.end());
      break;
    }
    if (word.size() < 2 || word[0] != '-') {
      rest.emplace_back(word);
      continue;
    }
    word.remove_prefix(word[1] == '-' ? 2 : 1);
    const auto equals = word.find('=');
    const std::string_view name = word.substr(0, equals);
    const Flag* flag = Find(name);
    if (flag == nullptr) return Unknown(name);
    std::string_view value;
    if (equals != word.npos) {
      value = word.substr(equals + 1);
    } else if (flag->has_value) {
      if (++i == arguments.size()) {
        return Status(StatusCode::kInvalidArgument, Concat("option -", name, " needs a value"));
      }
      value = arguments[i];
    }
    if (!flag->set(value)) {
      return Status(StatusCode::kInvalidArgument, Concat("option -", name, " is \"", value,
                                                         "\"; accepted: ", flag->accepted));
    }
  }
  return rest;
}

}  // namespace heldby::tools
