// collect/safe_text.h - a C string of the program's that may be gone by now.
//
// Threads  any.   Signals  unsafe: SafeText allocates, CopySafeText does not.
// Bounds   255 bytes; a page that is not there ends it.
#pragma once

#include <cstddef>
#include <string>

namespace heldby::collect {

/// Empty: nullptr, or not readable. A state is a literal of some library, which may have been
/// unloaded since: it is read by the kernel, which cannot fault.
[[nodiscard]] std::string SafeText(const char* text);

inline constexpr std::size_t kSafeTextBytes = 255;
/// The same into a buffer; returns the size.
[[nodiscard]] std::size_t CopySafeText(const char* text, char (&copy)[kSafeTextBytes]);

}  // namespace heldby::collect
