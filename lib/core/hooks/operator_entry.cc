// operator new and delete, all twenty, by their linker names: the core has no C++ library to
// include them from. Promises as in malloc_entry.cc; an exception of the host's C++ library
// passes through by tail call, so no frame of ours is on its way.
#include "core/hooks/operator_entry.h"

#include <dlfcn.h>
#include <stdlib.h>

#include "core/base/countdown.h"
#include "core/hooks/placement.h"

// In a static library a host's own operators must win over ours without a duplicate symbol.
#ifdef HELDBY_STATIC_CORE
#define HELDBY_OPERATOR HELDBY_HOOK __attribute__((weak))
#else
#define HELDBY_OPERATOR HELDBY_HOOK
#endif
#define CALLER __builtin_return_address(0)
#define COLD __attribute__((noinline, cold))

namespace heldby::core {
namespace {

// The default alignment of operator new: what forms without an alignment promise.
constexpr std::size_t kDefaultAlign = 16;

COLD void* SampledNew(std::size_t size, std::size_t align, const void* caller) {
  const std::uint64_t mean = Tick(size);
  // An operator that ends in malloc has these bytes charged there; the tick that fell on this
  // first charge is discarded, which leaves a Poisson process.
  if (mean == 0 || allocator_facts.operators_call_malloc) return nullptr;
  return PlaceSample(align, size, mean, caller);
}

__attribute__((noinline)) bool DeletedSample(void* block) {
  if (allocator_facts.operators_call_malloc || !ForgetSample(block)) return false;
  // Placed by memalign: its match is free, whatever size the host believes it to have.
  next.free(block);
  return true;
}

}  // namespace
}  // namespace heldby::core

using namespace heldby::core;  // NOLINT: C functions at global scope

// X(slot, linker name, parameters, arguments, alignment)
#define HELDBY_NEW_OPERATORS(X)                                                               \
  X(op_new, _Znwm, (std::size_t size), (size), kDefaultAlign)                                 \
  X(op_new_array, _Znam, (std::size_t size), (size), kDefaultAlign)                           \
  X(op_new_nothrow, _ZnwmRKSt9nothrow_t, (std::size_t size, const std::nothrow_t& tag),       \
    (size, tag), kDefaultAlign)                                                               \
  X(op_new_array_nothrow, _ZnamRKSt9nothrow_t, (std::size_t size, const std::nothrow_t& tag), \
    (size, tag), kDefaultAlign)                                                               \
  X(op_new_aligned, _ZnwmSt11align_val_t, (std::size_t size, std::size_t align),              \
    (size, align), align)                                                                     \
  X(op_new_array_aligned, _ZnamSt11align_val_t, (std::size_t size, std::size_t align),        \
    (size, align), align)                                                                     \
  X(op_new_aligned_nothrow, _ZnwmSt11align_val_tRKSt9nothrow_t,                               \
    (std::size_t size, std::size_t align, const std::nothrow_t& tag), (size, align, tag),     \
    align)                                                                                    \
  X(op_new_array_aligned_nothrow, _ZnamSt11align_val_tRKSt9nothrow_t,                         \
    (std::size_t size, std::size_t align, const std::nothrow_t& tag), (size, align, tag),     \
    align)

// The nothrow deletes differ from the plain ones only in a tag: they forward to the same slots.
#define HELDBY_DELETE_OPERATORS(X)                                                        \
  X(op_delete, _ZdlPv, (void* block), (block))                                            \
  X(op_delete_array, _ZdaPv, (void* block), (block))                                      \
  X(op_delete, _ZdlPvRKSt9nothrow_t, (void* block, const std::nothrow_t&), (block))       \
  X(op_delete_array, _ZdaPvRKSt9nothrow_t, (void* block, const std::nothrow_t&), (block)) \
  X(op_delete_sized, _ZdlPvm, (void* block, std::size_t size), (block, size))             \
  X(op_delete_array_sized, _ZdaPvm, (void* block, std::size_t size), (block, size))       \
  X(op_delete_aligned, _ZdlPvSt11align_val_t, (void* block, std::size_t align),           \
    (block, align))                                                                       \
  X(op_delete_array_aligned, _ZdaPvSt11align_val_t, (void* block, std::size_t align),     \
    (block, align))                                                                       \
  X(op_delete_aligned, _ZdlPvSt11align_val_tRKSt9nothrow_t,                               \
    (void* block, std::size_t align, const std::nothrow_t&), (block, align))              \
  X(op_delete_array_aligned, _ZdaPvSt11align_val_tRKSt9nothrow_t,                         \
    (void* block, std::size_t align, const std::nothrow_t&), (block, align))              \
  X(op_delete_sized_aligned, _ZdlPvmSt11align_val_t,                                      \
    (void* block, std::size_t size, std::size_t align), (block, size, align))             \
  X(op_delete_array_sized_aligned, _ZdaPvmSt11align_val_t,                                \
    (void* block, std::size_t size, std::size_t align), (block, size, align))

#define DEFINE_NEW(slot, symbol, parameters, arguments, alignment)         \
  HELDBY_OPERATOR void* symbol parameters {                                \
    if (CountDown(size)) [[unlikely]] {                                    \
      if (void* block = SampledNew(size, alignment, CALLER)) return block; \
    }                                                                      \
    return next.slot arguments;                                            \
  }                                                                        \
  extern "C" void* heldby_own##symbol parameters                           \
      __attribute__((alias(#symbol), visibility("hidden")));
HELDBY_NEW_OPERATORS(DEFINE_NEW)

#define DEFINE_DELETE(slot, symbol, parameters, arguments)  \
  HELDBY_OPERATOR void symbol parameters {                  \
    if (MayBeSampled(block)) [[unlikely]] {                 \
      if (block != nullptr && DeletedSample(block)) return; \
    }                                                       \
    next.slot arguments;                                    \
  }                                                         \
  extern "C" void heldby_own##symbol parameters             \
      __attribute__((alias(#symbol), visibility("hidden")));
HELDBY_DELETE_OPERATORS(DEFINE_DELETE)

namespace heldby::core {
namespace {

// ---- Filling the slots
// -----------------------------------------------------------------------

template <typename Function>
void Lookup(const char* name, Function** slot) {
  if (void* found = dlsym(RTLD_NEXT, name)) *slot = reinterpret_cast<Function*>(found);
}

// An allocation has failed and the host's C++ library must say so, its way: new_handler, then
// bad_alloc. It may have been loaded privately by the caller (a C program with a C++ plug-in),
// where RTLD_NEXT does not look; the caller's own scope does.
template <typename Function>
Function* LibraryOperator(const char* name, const void* caller) {
  Function* found = nullptr;
  Lookup(name, &found);
  if (found != nullptr) return found;
  Dl_info info;
  if (dladdr(caller, &info) != 0) {
    if (void* handle = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD)) {
      found = reinterpret_cast<Function*>(dlsym(handle, name));
    }
  }
  if (found == nullptr)
    abort();  // C++ code without a C++ library: bad_alloc would end here too
  return found;
}

COLD void* NewFailed(std::size_t size, const void* caller) {
  return LibraryOperator<void*(std::size_t)>("_Znwm", caller)(size);
}
COLD void* NewNothrowFailed(std::size_t size, const std::nothrow_t& tag, const void* caller) {
  using Form = void*(std::size_t, const std::nothrow_t&);
  return LibraryOperator<Form>("_ZnwmRKSt9nothrow_t", caller)(size, tag);
}
COLD void* NewAlignedFailed(std::size_t size, std::size_t align, const void* caller) {
  using Form = void*(std::size_t, std::size_t);
  return LibraryOperator<Form>("_ZnwmSt11align_val_t", caller)(size, align);
}
COLD void* NewAlignedNothrowFailed(std::size_t size, std::size_t align,
                                   const std::nothrow_t& tag, const void* caller) {
  using Form = void*(std::size_t, std::size_t, const std::nothrow_t&);
  return LibraryOperator<Form>("_ZnwmSt11align_val_tRKSt9nothrow_t", caller)(size, align, tag);
}

void* NewByMalloc(std::size_t size) {
  if (void* block = next.malloc(size != 0 ? size : 1)) return block;
  return NewFailed(size, CALLER);
}
void* NewNothrowByMalloc(std::size_t size, const std::nothrow_t& tag) {
  if (void* block = next.malloc(size != 0 ? size : 1)) return block;
  return NewNothrowFailed(size, tag, CALLER);
}
void* NewAlignedByMalloc(std::size_t size, std::size_t align) {
  if (void* block = next.memalign(align, size != 0 ? size : 1)) return block;
  return NewAlignedFailed(size, align, CALLER);
}
void* NewAlignedNothrowByMalloc(std::size_t size, std::size_t align,
                                const std::nothrow_t& tag) {
  if (void* block = next.memalign(align, size != 0 ? size : 1)) return block;
  return NewAlignedNothrowFailed(size, align, tag, CALLER);
}
void DeleteSizedByFree(void* block, std::size_t) { next.free(block); }
void DeleteAlignedByFree(void* block, std::size_t) { next.free(block); }
void DeleteSizedAlignedByFree(void* block, std::size_t, std::size_t) { next.free(block); }

}  // namespace

bool HostReplacesOperators() {
  // The name resolves to whoever comes first in the process, the alias is always ours.
#define IS_FOREIGN(slot, symbol, ...)                       \
  if (reinterpret_cast<const void*>(&symbol) !=             \
      reinterpret_cast<const void*>(&heldby_own##symbol)) { \
    return true;                                            \
  }
  HELDBY_NEW_OPERATORS(IS_FOREIGN)
  HELDBY_DELETE_OPERATORS(IS_FOREIGN)
  return false;
}

void ServeOperatorsByMalloc(void (*free_function)(void*), NextAllocator* table) {
  table->op_new = table->op_new_array = &NewByMalloc;
  table->op_new_nothrow = table->op_new_array_nothrow = &NewNothrowByMalloc;
  table->op_new_aligned = table->op_new_array_aligned = &NewAlignedByMalloc;
  table->op_new_aligned_nothrow = table->op_new_array_aligned_nothrow =
      &NewAlignedNothrowByMalloc;
  table->op_delete = table->op_delete_array = free_function;
  table->op_delete_sized = table->op_delete_array_sized = &DeleteSizedByFree;
  table->op_delete_aligned = table->op_delete_array_aligned = &DeleteAlignedByFree;
  table->op_delete_sized_aligned = table->op_delete_array_sized_aligned =
      &DeleteSizedAlignedByFree;
}

void PassOperatorsOn(NextAllocator* table) {
  ServeOperatorsByMalloc(table->free, table);  // for any form that nobody beneath us defines
#define PASS_ON(slot, symbol, ...) Lookup(#symbol, &table->slot);
  HELDBY_NEW_OPERATORS(PASS_ON)
  Lookup("_ZdlPv", &table->op_delete);
  Lookup("_ZdaPv", &table->op_delete_array);
  Lookup("_ZdlPvm", &table->op_delete_sized);
  Lookup("_ZdaPvm", &table->op_delete_array_sized);
  Lookup("_ZdlPvSt11align_val_t", &table->op_delete_aligned);
  Lookup("_ZdaPvSt11align_val_t", &table->op_delete_array_aligned);
  Lookup("_ZdlPvmSt11align_val_t", &table->op_delete_sized_aligned);
  Lookup("_ZdaPvmSt11align_val_t", &table->op_delete_array_sized_aligned);
}

void* FirstNew(std::size_t size) {
  ResolveNextAllocator();
  return next.op_new(size);
}
void* FirstNewNothrow(std::size_t size, const std::nothrow_t& tag) {
  ResolveNextAllocator();
  return next.op_new_nothrow(size, tag);
}
void* FirstNewAligned(std::size_t size, std::size_t align) {
  ResolveNextAllocator();
  return next.op_new_aligned(size, align);
}
void* FirstNewAlignedNothrow(std::size_t size, std::size_t align, const std::nothrow_t& tag) {
  ResolveNextAllocator();
  return next.op_new_aligned_nothrow(size, align, tag);
}
void FirstDelete(void* block) {
  ResolveNextAllocator();
  next.op_delete(block);
}
void FirstDeleteSized(void* block, std::size_t size) {
  ResolveNextAllocator();
  next.op_delete_sized(block, size);
}
void FirstDeleteAligned(void* block, std::size_t align) {
  ResolveNextAllocator();
  next.op_delete_aligned(block, align);
}
void FirstDeleteSizedAligned(void* block, std::size_t size, std::size_t align) {
  ResolveNextAllocator();
  next.op_delete_sized_aligned(block, size, align);
}

}  // namespace heldby::core
