// core/hooks/settings.h - what the environment asks for, and whether the hooks may work.
//
// Threads  any.   Signals  safe once ready.   Allocates  never.
//
// A bad value is one line on stderr that names the variable, the value and what is accepted;
// the host runs on with the default.
#pragma once

#include <cstdint>

namespace heldby::core {

/// How the hooks stand. The texts are for people: `reason` says what to do about it.
struct HookState {
  bool active;
  const char* reason;  // when not active
};

/// Reads the environment once, as soon as there is one. False: too early, or inside that
/// reading.
bool ReadyToSample();

/// HELDBY_DISABLE=1.
bool Disabled();

/// The dynamic linker was asked for us by name, as `heldby run` does: the program itself may
/// know nothing of us. False where a sanitizer, whose own wrappers they would be, is at work.
bool WrapsSockets();

/// HELDBY_BLOCK_PROFILE_RATE and HELDBY_MUTEX_PROFILE_FRACTION; 0: off.
std::uint64_t BlockRateFromEnvironment();
std::uint64_t MutexFractionFromEnvironment();

/// Decided by the constructor of the core (or when first asked for).
HookState DescribeHooks();

/// Called by the core's constructor: by now every symbol of the process is bound.
void DecideHookState();

/// Keeps the environment as it is now: HELDBY_ variables, and LD_LIBRARY_PATH if there is room,
/// 64 KiB in all. False: one of the first is left out, and may have been the one that protects.
bool CopyEnvironment();

/// For a thread of ours from that copy, for another from its environment: base/setting.h.
const char* SettingForThisThread(const char* name);

/// One line on stderr: "heldby: " and the pieces. Signal-safe, errno kept.
void Say(const char* a, const char* b = "", const char* c = "", const char* d = "",
         const char* e = "");

}  // namespace heldby::core
