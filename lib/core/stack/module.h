// core/stack/module.h - which loaded object an address belongs to, and which one that is.
//
// Threads  any.   Signals  safe.   Allocates  never.   Locks  none (_dl_find_object takes
// none). Bounds   64 remembered places of a build id, 512 bytes, static; beyond it they are
//          looked up again.
// Source   _dl_find_object (glibc 2.35); ELF, the program headers and notes of a mapped object.
#pragma once

#include <cstdint>

namespace heldby::core {

/// A loaded object, as _dl_find_object describes it.
struct Module {
  const std::uint8_t* begin;  // of its mapping
  const std::uint8_t* end;
  const std::uint8_t* eh_frame_hdr;  // inside it
};

/// The module that contains `pc`. False: none, or it has no unwind table.
bool FindModule(std::uintptr_t pc, Module* module);

/// Tells a module from another one that is loaded at its place after it is gone: by its build
/// id and by where it is. Never 0. Of a module without a build id, some of its first page and
/// of its unwind table stands in, which tells most from one another: IsCertain() is false then.
/// Reads the module: something has to keep it loaded, such as a frame of the calling thread
/// that is in it.
std::uint64_t Hash(const Module& module);

/// The same for a module that may go at any moment: 0, not a fault. A system call.
std::uint64_t HashOfOther(const Module& module);

/// True: no other module has this hash, but by a coincidence of 62 bits. Rules may be kept by
/// it.
constexpr bool IsCertain(std::uint64_t hash) { return (hash & 1) != 0; }

/// The 16 bits of a Hash() that a stack keeps for each frame. Never 0.
constexpr std::uint16_t ModuleTag(std::uint64_t hash) {
  return static_cast<std::uint16_t>(hash >> 48 | 1);
}

}  // namespace heldby::core
