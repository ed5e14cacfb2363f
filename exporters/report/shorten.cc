#include "exporters/report/shorten.h"

#include <cxxabi.h>

#include <cstdlib>
#include <memory>

#include "profile/simplify.h"

namespace heldby::report {
namespace {

// Empty: not a mangled name.
std::string Demangled(const std::string& name) {
  // The demangler also reads types, and would call a function "f" a "float".
  if (!name.starts_with("_Z")) return {};
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> text(
      abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status), &std::free);
  return status == 0 && text != nullptr ? text.get() : std::string();
}

// Already C++ for people, and neither Java's "Class.<init>" nor Go's "pkg.(*T[...]).Method".
bool LooksDemangled(std::string_view name) {
  if (name.find(".<") != name.npos || name.find("]).") != name.npos) return false;
  return name.find_first_of("<>[]") != name.npos || name.find("::") != name.npos;
}

// Without the outermost groups of `open` ... `close`, up to where they stop matching.
std::string WithoutGroups(std::string name, char open, char close) {
  std::size_t depth = 0;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < name.size(); ++at) {
    if (name[at] == open) {
      if (depth++ == 0) begin = at;
    } else if (name[at] == close) {
      if (depth == 0) return name;
      if (--depth == 0) {
        name.erase(begin, at + 1 - begin);
        at = begin - 1;  // the loop steps on; wraps to 0 at the front
      }
    }
  }
  return name;
}

}  // namespace

void ShortenNames(Profile* profile) {
  for (Function& function : profile->functions) {
    if (!function.name.empty() && function.name != function.system_name) continue;
    if (const std::string text = Demangled(function.system_name); !text.empty()) {
      function.name = SimplifyFunctionName(text);
      continue;
    }
    function.name = function.system_name;
    if (!LooksDemangled(function.name)) continue;
    function.name = WithoutGroups(std::move(function.name), '(', ')');
    function.name = WithoutGroups(std::move(function.name), '<', '>');
  }
}

std::string_view NameForPattern(std::string_view name) {
  constexpr std::string_view kReserved[] = {"(anonymous namespace)", "operator()"};
  if (name.starts_with('.')) name.remove_prefix(1);
  for (std::size_t at = 0; at < name.size();) {
    std::size_t skip = 0;
    for (std::string_view reserved : kReserved) {
      if (name.substr(at).starts_with(reserved)) skip = reserved.size();
    }
    if (skip == 0 && name[at] == '(') return name.substr(0, at);
    at += skip != 0 ? skip : 1;
  }
  return name;
}

}  // namespace heldby::report
