#include "core/hooks/next_allocator.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include <atomic>

#include "core/base/self_guard.h"
#include "core/hooks/operator_entry.h"
#include "core/hooks/settings.h"

// gperftools, when it is in the process. Weak: the linker resolves them if it can and leaves
// null if not; nothing of ours depends on the library.
extern "C" {
__attribute__((weak)) void* tc_malloc(std::size_t);
__attribute__((weak)) void* tc_new(std::size_t);
__attribute__((weak)) void* tc_newarray(std::size_t);
__attribute__((weak)) void* tc_new_nothrow(std::size_t, const std::nothrow_t&);
__attribute__((weak)) void* tc_newarray_nothrow(std::size_t, const std::nothrow_t&);
__attribute__((weak)) void tc_delete(void*);
__attribute__((weak)) void tc_deletearray(void*);
__attribute__((weak)) void tc_delete_sized(void*, std::size_t);
__attribute__((weak)) void tc_deletearray_sized(void*, std::size_t);
}

namespace heldby::core {
namespace {

// ---- The bootstrap arena: what dlsym() asks for while we ask dlsym()
// -------------------------

constexpr std::size_t kPageBytes = 4096;
constexpr std::size_t kBootstrapPages = 32;
alignas(kPageBytes) char bootstrap_arena[kBootstrapPages * kPageBytes];
std::atomic<std::size_t> bootstrap_used{0};
std::size_t bootstrap_sizes[kBootstrapPages];  // by first page

void* BootstrapAllocate(std::size_t size) {
  const std::size_t bytes = (size + kPageBytes) / kPageBytes * kPageBytes;
  if (size > sizeof(bootstrap_arena)) return nullptr;
  const std::size_t at = bootstrap_used.fetch_add(bytes, std::memory_order_relaxed);
  if (at + bytes > sizeof(bootstrap_arena)) return nullptr;
  bootstrap_sizes[at / kPageBytes] = bytes;
  return bootstrap_arena + at;  // static storage: zeroed, and never used twice
}

// ---- Where there is no dynamic linker there is nobody to ask
// ----------------------------------

#ifdef HELDBY_STATIC_CORE
extern "C" const ElfW(Ehdr) __ehdr_start __attribute__((visibility("hidden")));

// dlsym would wait for itself there. A host that cannot work is told while it is being built
// and tried, not left hanging at its first malloc.
void RefuseStaticExecutable() {
  const auto* segments = reinterpret_cast<const ElfW(Phdr)*>(
      reinterpret_cast<const char*>(&__ehdr_start) + __ehdr_start.e_phoff);
  for (int i = 0; i < __ehdr_start.e_phnum; ++i) {
    if (segments[i].p_type == PT_INTERP) return;
  }
  Say("heldby::core_static is linked into a fully static executable; accepted: executables "
      "that "
      "use the dynamic linker");
  abort();
}
#else
void RefuseStaticExecutable() {}
#endif

// ---- The first call through each slot fills the table ---------------------------------------

enum : int { kUnresolved, kResolving, kReady };
std::atomic<int> state{kUnresolved};
std::atomic<ThreadSlot*> resolver{nullptr};

bool ResolvingHere() {
  return state.load(std::memory_order_acquire) == kResolving &&
         resolver.load(std::memory_order_relaxed) == &thread_slot;
}

void* FirstMalloc(std::size_t size) {
  if (ResolvingHere()) return BootstrapAllocate(size);
  ResolveNextAllocator();
  return next.malloc(size);
}
void FirstFree(void* block) {
  if (ResolvingHere()) return;
  ResolveNextAllocator();
  next.free(block);
}
void* FirstCalloc(std::size_t count, std::size_t size) {
  if (ResolvingHere()) return BootstrapAllocate(count * size);
  ResolveNextAllocator();
  return next.calloc(count, size);
}
void* FirstRealloc(void* block, std::size_t size) {
  if (ResolvingHere()) {
    void* moved = BootstrapAllocate(size);
    if (moved != nullptr && block != nullptr) {
      const std::size_t old_bytes = BootstrapBlockBytes(block);
      memcpy(moved, block, old_bytes < size ? old_bytes : size);
    }
    return moved;
  }
  ResolveNextAllocator();
  return next.realloc(block, size);
}
void* FirstMemalign(std::size_t align, std::size_t size) {
  if (ResolvingHere()) return align <= kPageBytes ? BootstrapAllocate(size) : nullptr;
  ResolveNextAllocator();
  return next.memalign(align, size);
}
// Those below while we ask, too: what dlsym() calls may be a malloc of the host's, made of
// them.
void* FirstAlignedAlloc(std::size_t align, std::size_t size) {
  if (ResolvingHere()) return FirstMemalign(align, size);
  ResolveNextAllocator();
  return next.aligned_alloc(align, size);
}
int FirstPosixMemalign(void** out, std::size_t align, std::size_t size) {
  if (ResolvingHere()) {
    *out = FirstMemalign(align, size);
    return *out != nullptr ? 0 : ENOMEM;
  }
  ResolveNextAllocator();
  return next.posix_memalign(out, align, size);
}
void* FirstValloc(std::size_t size) {
  if (ResolvingHere()) return BootstrapAllocate(size);
  ResolveNextAllocator();
  return next.valloc(size);
}
void* FirstPvalloc(std::size_t size) {
  if (ResolvingHere()) return BootstrapAllocate(size);
  ResolveNextAllocator();
  return next.pvalloc(size);
}
std::size_t FirstUsableSize(void* block) {
  if (ResolvingHere()) return 0;  // there is none beneath
  ResolveNextAllocator();
  return next.malloc_usable_size(block);
}
void FirstSdallocx(void* block, std::size_t size, int flags) {
  if (ResolvingHere()) return;
  ResolveNextAllocator();
  next.sdallocx(block, size, flags);
}
void SdallocxByFree(void* block, std::size_t, int) { next.free(block); }

// ---- Finding what is beneath ----------------------------------------------------------------

template <typename Function>
void Lookup(const char* name, Function** slot) {
  // dlsym returns an object pointer by its old signature; POSIX promises this conversion.
  if (void* found = dlsym(RTLD_NEXT, name)) *slot = reinterpret_cast<Function*>(found);
}

bool SameObject(const void* a, const void* b) {
  Dl_info in_a;
  Dl_info in_b;
  return a != nullptr && b != nullptr && dladdr(a, &in_a) != 0 && dladdr(b, &in_b) != 0 &&
         in_a.dli_fbase == in_b.dli_fbase;
}

template <typename Function>
const void* Address(Function* function) {
  return reinterpret_cast<const void*>(function);
}

// Asks by doing: compares this thread's countdown around a malloc that is bound as everybody
// else's is. Comparing addresses would be fooled by an executable that is not
// position-independent and takes malloc's address: its PLT entry then is "the" malloc.
bool MallocIsOurs() {
  SelfGuard self;
  const std::uint64_t before = thread_slot.countdown_bytes;
  thread_slot.countdown_bytes = std::uint64_t{1} << 40;
  void* (*volatile bound_malloc)(std::size_t) = &malloc;
  void (*volatile bound_free)(void*) = &free;
  void* block = bound_malloc(24);
  const bool ours = thread_slot.countdown_bytes != std::uint64_t{1} << 40;
  bound_free(block);
  thread_slot.countdown_bytes = before;
  return ours;
}

const char* NameOfAllocator(const NextAllocator& found) {
  if (tc_malloc != nullptr && found.malloc == &tc_malloc) return "tcmalloc";
  Dl_info info;
  if (dladdr(Address(found.malloc), &info) == 0 || info.dli_fname == nullptr) return "unknown";
  const char* slash = strrchr(info.dli_fname, '/');
  const char* base = slash != nullptr ? slash + 1 : info.dli_fname;
  return strncmp(base, "libc.so", 7) == 0 ? "glibc" : base;
}

// jemalloc places large blocks at a random offset in their page, so a big calloc can neither be
// recognised by free() nor be moved without touching every page. It and mimalloc can zero and
// align in one call.
constexpr int kJemallocZero = 0x40;
void* (*jemalloc_mallocx)(std::size_t, int);
void* (*mimalloc_zalloc_aligned)(std::size_t, std::size_t);

void* ZeroedAlignedByJemalloc(std::size_t align, std::size_t size) {
  return jemalloc_mallocx(size, kJemallocZero | __builtin_ctzl(align));
}
void* ZeroedAlignedByMimalloc(std::size_t align, std::size_t size) {
  return mimalloc_zalloc_aligned(size, align);
}

// glibc's debugging library (MALLOC_CHECK_, mtrace) shows its functions to programs alone, by a
// version that is not the default one: dlsym passes them over, and a host that is debugged by
// them would not be any more.
template <typename Function>
void LookupMalloc(const char* name, Function** slot, const char* version = "GLIBC_2.2.5") {
  Lookup(name, slot);
  const void* of_libc = Address(&dlsym);
  if (!SameObject(Address(*slot), of_libc)) return;
  void* programs = dlvsym(RTLD_NEXT, name, version);
  if (programs != nullptr && !SameObject(programs, of_libc)) {
    *slot = reinterpret_cast<Function*>(programs);
  }
}

void FindZeroedAligned(const NextAllocator& found) {
  Lookup("mallocx", &jemalloc_mallocx);
  Lookup("mi_zalloc_aligned", &mimalloc_zalloc_aligned);
  if (SameObject(Address(jemalloc_mallocx), Address(found.malloc))) {
    allocator_facts.zeroed_aligned = &ZeroedAlignedByJemalloc;
  } else if (SameObject(Address(mimalloc_zalloc_aligned), Address(found.malloc))) {
    allocator_facts.zeroed_aligned = &ZeroedAlignedByMimalloc;
  }
}

void FindMallocFamily(NextAllocator* found) {
  LookupMalloc("malloc", &found->malloc);
  LookupMalloc("free", &found->free);
  LookupMalloc("calloc", &found->calloc);
  LookupMalloc("realloc", &found->realloc);
  LookupMalloc("reallocarray", &found->reallocarray, "GLIBC_2.26");
  LookupMalloc("memalign", &found->memalign);
  LookupMalloc("aligned_alloc", &found->aligned_alloc, "GLIBC_2.16");
  LookupMalloc("posix_memalign", &found->posix_memalign);
  LookupMalloc("valloc", &found->valloc);
  LookupMalloc("pvalloc", &found->pvalloc);
  Lookup("sdallocx", &found->sdallocx);
  if (!SameObject(Address(found->malloc), Address(found->sdallocx))) {
    found->sdallocx = &SdallocxByFree;
  }
  // A block of one allocator freed by another is a crash: an allocator that does not bring
  // memalign must not be given glibc's. Its aligned_alloc does the same job.
  allocator_facts.has_memalign = SameObject(Address(found->malloc), Address(found->memalign));
  if (!allocator_facts.has_memalign &&
      SameObject(Address(found->malloc), Address(found->aligned_alloc))) {
    found->memalign = found->aligned_alloc;
    allocator_facts.has_memalign = true;
  }
}

void UseTcmallocOperators(NextAllocator* found) {
  found->op_new = &tc_new;
  found->op_new_array = &tc_newarray;
  found->op_new_nothrow = &tc_new_nothrow;
  found->op_new_array_nothrow = &tc_newarray_nothrow;
  found->op_delete = &tc_delete;
  found->op_delete_array = &tc_deletearray;
  found->op_delete_sized = &tc_delete_sized;
  found->op_delete_array_sized = &tc_deletearray_sized;
}

// An allocator brings its own operators, which know nothing of malloc; those of the C++ library
// call it. The former are as good as malloc, and are sampled like it, whoever replaces what.
bool NextOperatorsCallMalloc(const NextAllocator& found) {
  void* (*next_new)(std::size_t) = nullptr;
  Lookup("_Znwm", &next_new);
  return !SameObject(Address(next_new), Address(found.malloc));
}

void Fill() {
  // Before all others, and in force at once: a malloc of the host's that is asked meanwhile may
  // want to know how much it has been given by another than us.
  LookupMalloc("malloc_usable_size", &next.malloc_usable_size);
  NextAllocator found = next;
  FindMallocFamily(&found);
  allocator_facts.name = NameOfAllocator(found);
  FindZeroedAligned(found);
  allocator_facts.malloc_is_foreign = !MallocIsOurs();
  if (allocator_facts.malloc_is_foreign ||
      (HostReplacesOperators() && NextOperatorsCallMalloc(found))) {
    allocator_facts.operators_call_malloc = true;
    PassOperatorsOn(&found);
  } else {
    ServeOperatorsByMalloc(found.free, &found);
    if (tc_malloc != nullptr && found.malloc == &tc_malloc) UseTcmallocOperators(&found);
  }
  // A look-up that found nothing left a message that the host's next dlerror() would show.
  dlerror();
  next = found;
}

}  // namespace

constinit NextAllocator next = [] {
  NextAllocator first{};
  first.malloc = &FirstMalloc;
  first.free = &FirstFree;
  first.calloc = &FirstCalloc;
  first.realloc = &FirstRealloc;
  first.memalign = &FirstMemalign;
  first.aligned_alloc = &FirstAlignedAlloc;
  first.posix_memalign = &FirstPosixMemalign;
  first.valloc = &FirstValloc;
  first.pvalloc = &FirstPvalloc;
  first.malloc_usable_size = &FirstUsableSize;
  first.sdallocx = &FirstSdallocx;
  SetFirstOperators(&first);
  return first;
}();

constinit AllocatorFacts allocator_facts = {"unknown", false, false, false, nullptr};

bool IsBootstrapBlock(const void* block) {
  const auto* at = static_cast<const char*>(block);
  return at >= bootstrap_arena && at < bootstrap_arena + sizeof(bootstrap_arena);
}

std::size_t BootstrapBlockBytes(const void* block) {
  const auto offset = static_cast<const char*>(block) - bootstrap_arena;
  return bootstrap_sizes[static_cast<std::size_t>(offset) / kPageBytes];
}

void ResolveNextAllocator() {
  RefuseStaticExecutable();
  int expected = kUnresolved;
  if (state.compare_exchange_strong(expected, kResolving, std::memory_order_acq_rel)) {
    resolver.store(&thread_slot, std::memory_order_relaxed);
    Fill();
    state.store(kReady, std::memory_order_release);
    return;
  }
  if (ResolvingHere()) return;
  while (state.load(std::memory_order_acquire) != kReady) sched_yield();
}

}  // namespace heldby::core
