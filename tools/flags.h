// tools/flags.h - options as Go's tools take them: -name value, -name=value, --name=value.
//
// Threads  one.
// Source   Go's flag package, but that options may stand behind arguments, too.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "heldby/status.h"

namespace heldby::tools {

class Flags {
 public:
  void Text(std::string_view name, std::string* value);
  void Many(std::string_view name, std::vector<std::string>* values);
  void Switch(std::string_view name, bool* value);
  /// 0 or more.
  void Count(std::string_view name, std::size_t* value);
  void Fraction(std::string_view name, double* value);
  /// -name, which takes no value.
  void Action(std::string_view name, std::function<void()> action);

  /// What is no option. "--" ends the options; "-" alone is an argument.
  /// kInvalidArgument  the message names the option, the value and what is accepted.
  [[nodiscard]] Result<std::vector<std::string>> Parse(
      const std::vector<std::string_view>& arguments);

 private:
  struct Flag {
    std::string name;
    bool has_value = false;
    /// False: the value is none; `accepted` says what would be.
    std::function<bool(std::string_view value)> set{};
    std::string accepted{};
  };
  const Flag* Find(std::string_view name) const;
  Status Unknown(std::string_view name) const;

  std::vector<Flag> flags_;
};

}  // namespace heldby::tools
