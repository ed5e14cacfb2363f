// runtime/core_access.h - the core of this process, or none that we understand.
//
// Threads  any.   Signals  safe.   Allocates  never.
#pragma once

#include "core/core.h"

namespace heldby::runtime {

/// nullptr: the core found at run time is of another version than this face was built for.
inline const core::CoreApi* Core() {
  const core::CoreApi* api = heldby_core_v1();
  return api != nullptr && api->abi == core::kCoreAbi ? api : nullptr;
}

}  // namespace heldby::runtime
