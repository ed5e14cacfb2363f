// collect/safe_text.h - a C string of the program's that may be gone by now.
//
// Threads  any.   Signals  unsafe: allocates.   Bounds  255 bytes; a page that is not there
// ends it.
#pragma once

#include <string>

namespace heldby::collect {

/// Empty: nullptr, or not readable. A state is a literal of some library, which may have been
/// unloaded since: it is read by the kernel, which cannot fault.
[[nodiscard]] std::string SafeText(const char* text);

}  // namespace heldby::collect
