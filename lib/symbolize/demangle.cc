#include "symbolize/demangle.h"

#include <cxxabi.h>

#include <cstdlib>
#include <memory>
#include <utility>

#include "profile/simplify.h"

namespace heldby::symbolize {
namespace {

// The compiler's clones (split, specialised, renamed) are one function to a person and should
// be one row in a report; the linker name still tells them apart.
void DropCloneSuffix(std::string* name) {
  for (const char* mark :
       {" [clone ", ".isra.", ".part.", ".constprop.", ".cold", ".lto_priv."}) {
    const auto at = name->find(mark);
    if (at != std::string::npos && at > 0) name->resize(at);
  }
}

// g++ keeps a coroutine's code in a function of the frame: `f(f(int)::_Z1fi.Frame*)` where the
// program has written `f(int)`.
void NameCoroutine(std::string* name) {
  if (!name->ends_with(".Frame*)")) return;
  const std::size_t end = name->rfind("::_Z");
  if (end == std::string::npos) return;
  for (std::size_t at = name->find('('); at < end; at = name->find('(', at + 1)) {
    if (at > 0 && name->compare(at + 1, at, *name, 0, at) == 0) {
      *name = name->substr(at + 1, end - at - 1);
      return;
    }
  }
}

// A name that was cut anywhere is none any more to who reads its brackets: profile/trim.h,
// pprof.
std::string WithShorterLists(std::string name) {
  constexpr std::size_t kMostDepth = 6;
  std::string shorter = name;
  for (std::size_t depth = kMostDepth; shorter.size() > kMaxNameBytes; --depth) {
    shorter = WithTemplateDepth(name, depth);
    if (depth == 0) break;
  }
  return shorter;
}

}  // namespace

// Both ends are kept: a method of a class with a long template argument has its own name last.
std::string CapName(std::string text) {
  if (text.size() <= kMaxNameBytes) return text;
  constexpr std::size_t kHalf = (kMaxNameBytes - 3) / 2;
  const auto inside_character = [&](std::size_t at) { return (text[at] & 0xc0) == 0x80; };
  std::size_t head = kHalf;
  while (head > 0 && inside_character(head)) --head;
  std::size_t tail = text.size() - kHalf;
  while (tail < text.size() && inside_character(tail)) ++tail;
  return text.substr(0, head) + "..." + text.substr(tail);
}

std::string Demangle(const std::string& name) {
  constexpr std::size_t kMaxInputBytes = 64 * 1024;
  // Only what starts so is a function's name; __cxa_demangle would read "i" as "int".
  if (name.size() > kMaxInputBytes || !name.starts_with("_Z")) {
    std::string plain = name;
    DropCloneSuffix(&plain);
    return CapName(std::move(plain));
  }
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> text(
      abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status), &std::free);
  std::string readable = status == 0 && text != nullptr ? text.get() : name;
  DropCloneSuffix(&readable);
  NameCoroutine(&readable);
  return CapName(WithShorterLists(std::move(readable)));
}

}  // namespace heldby::symbolize
