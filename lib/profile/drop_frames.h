// profile/drop_frames.h - frames that are the allocator's, the profiler's or the lock's own.
//
// Threads  constants.
// Signals  safe.
// Source   pprof cuts everything on the leaf side of a match, and matches the whole simplified
//          name. It brings such lists for legacy formats only; in profile.proto the producer
//          must set drop_frames (docs/formats.md).
#pragma once

#include <string_view>

namespace heldby {

inline constexpr std::string_view kHeapDropFrames =
    R"(malloc|calloc|realloc|reallocarray|free|cfree|memalign|aligned_alloc|valloc|pvalloc)"
    R"(|(__)?posix_memalign|__libc_(malloc|calloc|realloc|memalign)|strdup|strndup)"
    R"(|operator new(\[\])?|operator delete(\[\])?|__builtin_(vec_)?(new|delete))"
    R"(|tc_(malloc|calloc|realloc|free|cfree|memalign|posix_memalign|valloc|pvalloc))"
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
