#include "core/hooks/settings.h"

#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>

#include "core/base/error_line.h"
#include "core/base/self_guard.h"
#include "core/base/thread_slot.h"
#include "core/hooks/malloc_hook_fallback.h"
#include "core/hooks/next_allocator.h"
#include "core/sampler/contention.h"
#include "core/sampler/heap_sampler.h"
#include "core/stack/own_signal.h"

extern "C" {
// Present when a sanitizer's runtime is.
__attribute__((weak)) void __asan_init();
__attribute__((weak)) void __tsan_init();
__attribute__((weak)) void __msan_init();
__attribute__((weak)) void __hwasan_init();
}

namespace heldby::core {
namespace {

enum : int { kUnread, kReading, kReady };
std::atomic<int> environment_state{kUnread};

// Each with its end; written before the first thread of ours.
char environment_copy[64 << 10];
bool disabled;
std::atomic<bool> hooks_active{false};
std::atomic<const char*> inactive_reason{"the core of heldby has not been initialised yet"};

// Digits only: strtoull would accept "-1", " 12" and "0x10" without a word.
bool ParseNumber(const char* text, std::uint64_t most, std::uint64_t* value) {
  if (*text == '\0') return false;
  std::uint64_t sum = 0;
  for (; *text != '\0'; ++text) {
    if (*text < '0' || *text > '9') return false;
    if (__builtin_mul_overflow(sum, 10u, &sum)) return false;
    if (__builtin_add_overflow(sum, static_cast<unsigned>(*text - '0'), &sum)) return false;
  }
  *value = sum;
  return sum <= most;
}

std::uint64_t SampleBytesFromEnvironment() {
  const char* text = secure_getenv("HELDBY_SAMPLE_BYTES");
  if (text == nullptr) return kDefaultSampleBytes;
  std::uint64_t value = 0;
  if (ParseNumber(text, kMaxSampleBytes, &value)) return value;
  Say("HELDBY_SAMPLE_BYTES is \"", text,
      "\"; accepted: a whole number of bytes from 0 (off) to 1099511627776; using 524288");
  return kDefaultSampleBytes;
}

bool DisabledByEnvironment() {
  const char* text = secure_getenv("HELDBY_DISABLE");
  if (text == nullptr || *text == '\0' || strcmp(text, "0") == 0) return false;
  if (strcmp(text, "1") == 0) return true;
  Say("HELDBY_DISABLE is \"", text, "\"; accepted: 1 (do nothing at all) or 0; ignoring it");
  return false;
}

bool ForbidsSignals() {
  const char* text = secure_getenv("HELDBY_THREAD_SIGNAL");
  if (text == nullptr || *text == '\0' || strcmp(text, "1") == 0) return false;
  if (strcmp(text, "0") == 0) return true;
  Say("HELDBY_THREAD_SIGNAL is \"", text,
      "\"; accepted: 1 (ask running threads for their stacks by a signal) or 0 (never); "
      "ignoring it");
  return false;
}

const char* SanitizerHere() {
  if (__asan_init != nullptr) return "AddressSanitizer";
  if (__tsan_init != nullptr) return "ThreadSanitizer";
  if (__msan_init != nullptr) return "MemorySanitizer";
  if (__hwasan_init != nullptr) return "HWAddressSanitizer";
  return nullptr;
}

void StandDown(const char* reason) {
  heap_sampler.clock().set_mean_bytes(0);
  inactive_reason.store(reason, std::memory_order_relaxed);
}

}  // namespace

bool CopyEnvironment() {
  if (getauxval(AT_SECURE) != 0) return true;
  bool is_whole = true;
  std::size_t used = 0;
  // In this order: what is long is the other one.
  for (const char* prefix : {"HELDBY_", "LD_LIBRARY_PATH="}) {
    for (char** at = environ; at != nullptr && *at != nullptr; ++at) {
      if (strncmp(*at, prefix, strlen(prefix)) != 0) continue;
      const std::size_t bytes = strlen(*at) + 1;
      // One byte stays 0, behind the last.
      if (bytes >= sizeof(environment_copy) - used) {
        is_whole = is_whole && prefix[0] != 'H';
        continue;
      }
      memcpy(environment_copy + used, *at, bytes);
      used += bytes;
    }
  }
  return is_whole;
}

const char* SettingForThisThread(const char* name) {
  if (!thread_slot.is_own) return secure_getenv(name);
  const std::size_t length = strlen(name);
  for (const char* at = environment_copy; *at != '\0'; at += strlen(at) + 1) {
    if (strncmp(at, name, length) == 0 && at[length] == '=') return at + length + 1;
  }
  return nullptr;
}

void Say(const char* a, const char* b, const char* c, const char* d, const char* e) {
  const char* pieces[] = {"heldby: ", a, b, c, d, e, "\n"};
  iovec parts[7];
  for (int i = 0; i < 7; ++i) {
    parts[i] = {const_cast<char*>(pieces[i]), strlen(pieces[i])};
  }
  WriteErrorLine(parts, 7);
}

bool ReadyToSample() {
  if (environment_state.load(std::memory_order_acquire) == kReady) [[likely]]
    return true;
  if (environ == nullptr) return false;  // before libc's own initialisation
  int expected = kUnread;
  if (!environment_state.compare_exchange_strong(expected, kReading)) return false;
  SelfGuard self;
  ResolveNextAllocator();
  disabled = DisabledByEnvironment();
  if (disabled || ForbidsSignals()) ForbidSignals();
  if (disabled) {
    StandDown("HELDBY_DISABLE is set");
  } else {
    const std::uint64_t mean = SampleBytesFromEnvironment();
    if (SanitizerHere() == nullptr && allocator_facts.has_memalign) {
      heap_sampler.clock().set_mean_bytes(mean);
    }
  }
  environment_state.store(kReady, std::memory_order_release);
  return true;
}

bool Disabled() { return ReadyToSample() && disabled; }

void DecideHookState() {
  if (!ReadyToSample() || disabled) return;
  if (const char* sanitizer = SanitizerHere()) {
    StandDown("a sanitizer's runtime owns malloc in this process: the hooks stand down");
    Say("the allocation hooks stand down: ", sanitizer, " owns malloc in this process");
    return;
  }
  if (!allocator_facts.has_memalign) {
    StandDown("the allocator beneath brings neither memalign nor aligned_alloc of its own");
    Say("the allocation hooks stand down: the allocator beneath (", allocator_facts.name,
        ") brings neither memalign nor aligned_alloc of its own");
    return;
  }
  if (!allocator_facts.malloc_is_foreign) {
    hooks_active.store(true, std::memory_order_relaxed);
    return;
  }
  if (InstallMallocHookFallback()) {
    hooks_active.store(true, std::memory_order_relaxed);
    allocator_facts.name = "tcmalloc (static), by MallocHook";
    Say("tcmalloc is linked statically: sampling through its MallocHook, which sends every "
        "malloc and free down tcmalloc's slow path (about 3 times the instructions); link "
        "libtcmalloc.so instead to avoid that");
    return;
  }
  static constexpr char kForeign[] =  // looked at as long as the process lives
      "malloc is defined by the executable or by a library that comes before libheldby.so: "
      "link the allocator as a shared library, and name heldby before it";
  StandDown(kForeign);
  Say("the allocation hooks stand down: ", kForeign);
}

bool WrapsSockets() {
  const char* preloaded = secure_getenv("LD_PRELOAD");
  return preloaded != nullptr && strstr(preloaded, "libheldby.so") != nullptr && !Disabled() &&
         SanitizerHere() == nullptr;
}

std::uint64_t BlockRateFromEnvironment() {
  const char* text = secure_getenv("HELDBY_BLOCK_PROFILE_RATE");
  std::uint64_t value = 0;
  if (text == nullptr || ParseNumber(text, kMaxBlockRateNs, &value)) return value;
  Say("HELDBY_BLOCK_PROFILE_RATE is \"", text,
      "\"; accepted: a whole number of nanoseconds from 0 (off) and 1 (every wait) to "
      "3600000000000; using 0");
  return 0;
}

std::uint64_t MutexFractionFromEnvironment() {
  const char* text = secure_getenv("HELDBY_MUTEX_PROFILE_FRACTION");
  std::uint64_t value = 0;
  if (text == nullptr || ParseNumber(text, kMaxMutexFraction, &value)) return value;
  Say("HELDBY_MUTEX_PROFILE_FRACTION is \"", text,
      "\"; accepted: a whole number n, for one contention in n, from 0 (off) and 1 (all) to "
      "10000; using 0");
  return 0;
}

HookState DescribeHooks() {
  const bool active = hooks_active.load(std::memory_order_relaxed);
  return {active, active ? "" : inactive_reason.load(std::memory_order_relaxed)};
}

}  // namespace heldby::core
