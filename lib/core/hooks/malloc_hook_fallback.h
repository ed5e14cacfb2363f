// core/hooks/malloc_hook_fallback.h - the named fallback: gperftools linked statically.
//
// There malloc is the executable's own and no definition of ours can come before it. MallocHook
// still tells us of every call, at a price: any installed hook sends all of them down
// tcmalloc's slow dispatch (bench/: about 170 instructions a pair), and a sampled block cannot
// be placed where a free recognises it, so every free is looked up.
//
// Threads  call once, from the core's constructor.
#pragma once

namespace heldby::core {

/// False: no MallocHook in this process.
bool InstallMallocHookFallback();

}  // namespace heldby::core
