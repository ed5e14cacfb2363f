// symbolize/demangle.h - a linker name as a person reads it.
//
// Threads  any.
// Signals  unsafe: allocates.
// Bounds   the result is at most kMaxNameBytes; linker names over 64 KiB are not demangled.
// Source   abi::__cxa_demangle of the C++ runtime in use; it takes malloc'ed memory in
//          proportion to the result, which for templates can be far longer than the input.
#pragma once

#include <cstddef>
#include <string>

namespace heldby::symbolize {

inline constexpr std::size_t kMaxNameBytes = 1024;

/// `name` itself if it is not mangled; without the compiler's clone suffixes (".part.0"). Where
/// it is too long its inner template lists are "<...>", or at last its middle "...".
[[nodiscard]] std::string Demangle(const std::string& name);

/// `text`, at most kMaxNameBytes of it: its two ends.
[[nodiscard]] std::string CapName(std::string text);

}  // namespace heldby::symbolize
