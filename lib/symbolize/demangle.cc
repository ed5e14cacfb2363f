#include "symbolize/demangle.h"

#include <cxxabi.h>

#include <cstdlib>
#include <memory>
#include <utility>

namespace heldby::symbolize {

std::string CapName(std::string text) {
  if (text.size() <= kMaxNameBytes) return text;
  std::size_t end = kMaxNameBytes - 3;
  while (end > 0 && (text[end] & 0xc0) == 0x80) --end;  // not inside a UTF-8 character
  text.resize(end);
  return std::move(text += "...");
}

std::string Demangle(const std::string& name) {
  constexpr std::size_t kMaxInputBytes = 64 * 1024;
  // Only what starts so is a function's name; __cxa_demangle would read "i" as "int".
  if (name.size() > kMaxInputBytes || !name.starts_with("_Z")) return CapName(name);
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> text(
      abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status), &std::free);
  return CapName(status == 0 && text != nullptr ? std::string(text.get()) : name);
}

}  // namespace heldby::symbolize
