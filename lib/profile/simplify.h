// profile/simplify.h - the short form of a demangled C++ name.
//
// Threads  any.
// Signals  unsafe: allocates.
// Source   what `pprof` shows by default: no arguments, no template parameters, no return type.
//          drop_frames is matched against this form. Compared with the real `go tool pprof`,
//          name by name, in tests/unit/pprof/names_test.cc.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace heldby {

/// "std::vector<int, std::allocator<int> >::push_back(int&&)" -> "std::vector::push_back".
/// Text that is not a demangled C++ name comes back unchanged as far as it has no brackets.
[[nodiscard]] std::string SimplifyFunctionName(std::string_view demangled);

/// Template lists within `depth` others become "<...>": with 0 the outermost ones.
[[nodiscard]] std::string WithTemplateDepth(std::string_view demangled, std::size_t depth);

}  // namespace heldby
