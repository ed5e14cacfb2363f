// core/hooks/operator_entry.h - operator new and delete: how their slots are filled.
//
// Three ways, chosen once:
//   ServeOperatorsByMalloc  the usual one: new is malloc, and only when that fails the C++
//                           library's own operator is called, which knows new_handler
//                           and throws
//   (tcmalloc's own)        see next_allocator.cc
//   PassOperatorsOn         the host replaces operators: every form goes where it would
//                           have gone without us (a replaced operator delete must see what
//                           the sized form hands down), and the malloc they end in is what is
//                           counted
#pragma once

#include "core/hooks/next_allocator.h"

namespace heldby::core {

/// True if any of the twenty operators that the process uses is not ours.
bool HostReplacesOperators();

void ServeOperatorsByMalloc(void (*free_function)(void*), NextAllocator* table);
void PassOperatorsOn(NextAllocator* table);

// What the slots hold before the table is filled.
void* FirstNew(std::size_t size);
void* FirstNewNothrow(std::size_t size, const std::nothrow_t& tag);
void* FirstNewAligned(std::size_t size, std::size_t align);
void* FirstNewAlignedNothrow(std::size_t size, std::size_t align, const std::nothrow_t& tag);
void FirstDelete(void* block);
void FirstDeleteSized(void* block, std::size_t size);
void FirstDeleteAligned(void* block, std::size_t align);
void FirstDeleteSizedAligned(void* block, std::size_t size, std::size_t align);

constexpr void SetFirstOperators(NextAllocator* table) {
  table->op_new = table->op_new_array = &FirstNew;
  table->op_new_nothrow = table->op_new_array_nothrow = &FirstNewNothrow;
  table->op_new_aligned = table->op_new_array_aligned = &FirstNewAligned;
  table->op_new_aligned_nothrow = table->op_new_array_aligned_nothrow = &FirstNewAlignedNothrow;
  table->op_delete = table->op_delete_array = &FirstDelete;
  table->op_delete_sized = table->op_delete_array_sized = &FirstDeleteSized;
  table->op_delete_aligned = table->op_delete_array_aligned = &FirstDeleteAligned;
  table->op_delete_sized_aligned = table->op_delete_array_sized_aligned =
      &FirstDeleteSizedAligned;
}

}  // namespace heldby::core
