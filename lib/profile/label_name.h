// profile/label_name.h - a program's own label among those that heldby sets.
//
// Threads  any.   Signals  unsafe: allocates.
#pragma once

#include <string>

namespace heldby {

/// A key of the program's as readers of profiles take it: letters, digits and _, and none of
/// those that mean something else here, such as `bytes`, which becomes `user_bytes`.
/// REQUIRES: it is not empty.
[[nodiscard]] std::string ProfileLabelName(std::string key);

}  // namespace heldby
