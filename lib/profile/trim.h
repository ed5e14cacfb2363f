// profile/trim.h - let a heap profile begin with the code that asked for memory, a contention
// profile with the code that locked or waited.
//
// Threads  any.   Signals  unsafe: allocates.   Units  values stay as they are.
// Source   Go drops leading runtime.* frames of heap profiles, and keeps the whole stack if
//          nothing else is in it. Here the same is done for malloc, operator new and namespace
//          std: a vector's growth belongs to who let it grow, and its line says where.
//
// Why not drop_frames. pprof cuts at the match nearest the root, so a list that names
// std::allocator_traits would also cut a host's own allocator out of every stack that goes
// through the standard library; and inlined frames of one address are cut all or none.
#pragma once

#include "heldby/profile.h"

namespace heldby {

/// Takes such frames off the leaf end of every sample, inlined ones too, and adds up samples
/// that became equal. A stack of nothing else is left whole; frames without names stay.
/// Functions and locations that no sample uses any more stay in their tables.
void TrimAllocationFrames(Profile* profile);

/// The same for what stands between that code and the lock: namespace std, the wrappers of the
/// compiler's thread model, absl::Mutex and its kin.
void TrimLockFrames(Profile* profile);

}  // namespace heldby
