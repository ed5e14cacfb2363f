// profile/drop_frames.h - frames that are the allocator's, the profiler's or the lock's own.
//
// Threads  any.
// Signals  unsafe: the pattern allocates.
// Source   pprof cuts everything on the leaf side of a match, and matches the whole simplified
//          name. It brings such lists for legacy formats only; in profile.proto the producer
//          must set drop_frames (docs/formats.md).
#pragma once

#include <string>
#include <string_view>

namespace heldby {

/// What a program calls to get memory, as simplified names, gperftools' own included. They are
/// whole names: "tc_" is also how a host may name its own functions (tc_config_load). Only what
/// calls no code of the host may stand here, since pprof cuts at the match nearest the root.
// clang-format off
inline constexpr std::string_view kAllocationEntries[] = {
    "malloc", "calloc", "realloc", "reallocarray", "memalign", "aligned_alloc",
    "posix_memalign", "valloc", "pvalloc", "operator new", "operator new[]",
    "tc_malloc", "tc_malloc_skip_new_handler", "tc_free", "tc_realloc", "tc_calloc",
    "tc_cfree", "tc_memalign", "tc_posix_memalign", "tc_valloc", "tc_pvalloc",
    "tc_new", "tc_new_nothrow", "tc_new_aligned", "tc_new_aligned_nothrow",
    "tc_newarray", "tc_newarray_nothrow", "tc_newarray_aligned", "tc_newarray_aligned_nothrow"};
// clang-format on

/// These as drop_frames of our own heap profiles.
[[nodiscard]] std::string AllocationEntriesPattern();

/// For profiles of others: also what lies between these and the sampler there.

inline constexpr std::string_view kHeapDropFrames =
    R"(malloc|calloc|realloc|reallocarray|free|cfree|memalign|aligned_alloc|valloc|pvalloc)"
    R"(|(__)?posix_memalign|__libc_(malloc|calloc|realloc|memalign)|strdup|strndup)"
    R"(|operator new(\[\])?|operator delete(\[\])?|__builtin_(vec_)?(new|delete))"
    R"(|tc_(malloc(_skip_new_handler)?|calloc|realloc|free|cfree|memalign|posix_memalign))"
    R"(|tc_(valloc|pvalloc))"
    R"(|tc_(new|newarray|delete|deletearray)(_nothrow|_aligned|_aligned_nothrow|_sized)?)"
    R"(|tcmalloc::.*|(::)?do_(malloc|memalign)(_pages|_no_errno)?|DoSampledAllocation)"
    R"(|je_malloc|mi_malloc|cpp_alloc|MallocHook::.*|BaseArena::.*)"
    R"(|(std::)?(__new_allocator|allocator|allocator_traits)::allocate)"
    R"(|(__gnu_cxx::)?new_allocator::allocate|std::__new_allocator::allocate|_M_allocate)"
    R"(|heldby::core::.*)";

inline constexpr std::string_view kCpuDropFrames =
    R"(ProfileData::Add|(ProfileData|CpuProfiler)::prof_handler|__restore(_rt)?)"
    R"(|__pthread_sighandler)";

inline constexpr std::string_view kContentionDropFrames =
    R"((base::)?(RecordLock|SubmitMutex|SubmitSpinLock)ProfileData.*)"
    R"(|(base::)?(Mutex::)?(AwaitCommon|Unlock|UnlockSlow|ReaderUnlock).*)"
    R"(|(base::)?(MutexLock::)?~MutexLock.*|(SpinLock::)?(Slow)?Unlock.*)"
    R"(|(SpinLockHolder::)?~SpinLockHolder.*)";

}  // namespace heldby
