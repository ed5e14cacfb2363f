// core/stack/capture.h - the stack of a thread, as return addresses: one's own, that of the
// code a signal interrupted, or that of a thread which is parked.
//
// Threads  any.   Signals  safe, but for CaptureParked.   Allocates  never.
// Locks    none, but for CaptureParked.   errno kept, but by CaptureParked.
// Units    return addresses, innermost first; subtract one to land inside the call.
#pragma once

#include <cstdint>

namespace heldby::core {

/// Deepest stack kept. Go keeps 128 since 1.23, and so do its tools' users expect.
inline constexpr int kMaxStackDepth = 128;

struct Stack {
  int depth = 0;
  bool truncated = false;  // there was more, or the unwinder could not go on
  std::uintptr_t frames[kMaxStackDepth];
  /// Which module each frame was in: 16 bits of its Hash(), never 0; 0: none, or not looked at.
  /// An address alone would be given the name of whatever is loaded there by the time somebody
  /// asks.
  std::uint16_t modules[kMaxStackDepth];
};

/// Where a thread is. What a walk follows; no other register is.
struct Registers {
  std::uintptr_t pc = 0;
  std::uintptr_t sp = 0;
  std::uintptr_t fp = 0;
  bool fp_known = true;  // false: nobody could tell, as in /proc/self/task/TID/syscall
};

/// A module as Stack::modules names it.
struct ModuleRange {
  std::uintptr_t begin;
  std::uintptr_t end;
  std::uint16_t tag;
};

/// The module of the code at `pc` now. False: none, or it cannot be told. A system call; for
/// any address, whoever may be unloading what is there.
bool DescribeModuleAt(std::uintptr_t pc, ModuleRange* range);

/// Captures the calling stack beginning with the frame whose code `first` is the return address
/// into (what __builtin_return_address(0) says in the hook), so that frames of ours never show.
/// If no such frame is found, the whole stack is kept.
void CaptureStack(std::uintptr_t first, Stack* stack);

/// In a signal handler: the stack of the code that was interrupted, which `ucontext` (the
/// handler's third argument) describes. The handler's own frames are not in it. The first frame
/// is the interrupted instruction plus one, so that "subtract one" is right for every frame.
void CaptureInterrupted(const void* ucontext, Stack* stack);

/// The stack of another thread of this process that waits in a system call at `registers`.
/// Nothing of it is touched: its stack is read by process_vm_readv, so that a thread which goes
/// on, or ends, meanwhile gives a wrong or a truncated stack but no fault; whether it did go on
/// is for the caller to find out afterwards. Takes the dynamic linker's lock, so that no code
/// is unloaded under the walk: not for hot paths, not for signal handlers. (A host with its own
/// dl_iterate_phdr that locks nothing has to keep its libraries.) While a fork is
/// under way it waits, as EnterLoaderBriefly() does; in vain: one frame, truncated.
void CaptureParked(const Registers& registers, Stack* stack);

struct UnwindCounters {
  std::uint64_t rules_read_total;  // rows that neither cache had: about a microsecond each
  std::uint64_t cache_bytes;       // all the memory that walks ever use, for all modules
};
UnwindCounters ReadUnwindCounters();

}  // namespace heldby::core
