// A library for LD_PRELOAD that takes stacks twice, by our walk and by libgcc's
// _Unwind_Backtrace, inside programs that nobody here wrote, and reports where they differ.
//
//   UNWIND_REPORT=FILE   one line a process is appended at its exit, and up to 20 differences
//   UNWIND_EVERY=N       at every Nth malloc or calloc (default 100)
//   UNWIND_TIMER_US=N    and whenever so much time has passed, at whatever instruction that
//                        may be (default 1000; 0: never)
//
// Report line:
//   "stacks PROGRAM KIND compared identical truncated longer different wrong3 absent"
//   identical  the same return addresses to the root (or to the 128th)
//   truncated  ours gave up, and said so; what there is agrees
//   longer     libgcc stopped, at code without a row; ours went on from there and agrees so far
//   different  none of these; wrong3: of those, in one of the first three frames
//   absent     nothing to compare with: libgcc did not find the interrupted instruction, or
//              it is one of libgcc's own, which is not asked: at the end of _Unwind_Resume
//              registers are those of another frame already, and libgcc's walk dies of that;
//              or it died of something else: beyond a frame without a row it reads the code at
//              whatever the return address is, mapped or not. Ours is taken.
//
// libgcc's unwinder is linked in statically: the host's own may be another one.
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>

#include "../unit/core/reference.h"
#include "core/stack/capture.h"

namespace {

using namespace heldby::core;  // NOLINT: all of this file is about its stacks

constexpr int kMaxDifferences = 20;
constexpr const char* kKindNames[] = {"allocating", "interrupted"};

struct Counts {
  std::atomic<long> compared, identical, truncated, longer, different, wrong3, absent, libgccs;
};
Counts counts[2];
std::atomic<int> differences_told;
std::atomic<unsigned long> allocations;
unsigned long every = 100;
char report_path[4096];
char program[64];  // as it was at the start: nginx writes over the original
__thread bool busy __attribute__((tls_model("initial-exec")));

void Append(const char* text, int length) {
  const int file = open(report_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file < 0) return;
  if (write(file, text, static_cast<std::size_t>(length)) != length) abort();
  close(file);
}

// Both stacks side by side, as object and offset.
void Tell(const char* kind, const Stack& ours, const std::uintptr_t* theirs, int count) {
  if (differences_told.fetch_add(1) >= kMaxDifferences) return;
  char text[64 * 1024];
  int length = snprintf(text, sizeof(text), "difference %s %s, truncated %d\n", program, kind,
                        ours.truncated ? 1 : 0);
  const auto name = [&](std::uintptr_t pc) {
    Dl_info info{};
    if (pc == 0 || dladdr(reinterpret_cast<void*>(pc - 1), &info) == 0) {
      length +=
          snprintf(text + length, sizeof(text) - static_cast<std::size_t>(length), " %lx", pc);
      return;
    }
    length += snprintf(text + length, sizeof(text) - static_cast<std::size_t>(length),
                       " %s+0x%lx(%s)", strrchr(info.dli_fname, '/'),
                       pc - reinterpret_cast<std::uintptr_t>(info.dli_fbase),
                       info.dli_sname != nullptr ? info.dli_sname : "?");
  };
  for (int i = 0; i < (ours.depth > count ? ours.depth : count) && i < 40; ++i) {
    if (length > 60'000) break;
    name(i < ours.depth ? ours.frames[i] : 0);
    length += snprintf(text + length, sizeof(text) - static_cast<std::size_t>(length), "  |");
    name(i < count ? theirs[i] : 0);
    text[length++] = '\n';
  }
  Append(text, length);
}

void Judge(int kind, const Stack& ours, const Reference& reference) {
  Counts& to = counts[kind];
  const Verdict verdict = Compare(ours, reference);
  if (verdict == Verdict::kAbsent) {
    ++to.absent;
    return;
  }
  ++to.compared;
  if (verdict == Verdict::kIdentical) {
    ++to.identical;
    return;
  }
  int from = 0;
  while (reference.frames[from] != ours.frames[0]) ++from;
  const std::uintptr_t* theirs = reference.frames + from;
  if (verdict == Verdict::kTruncated) ++to.truncated;
  if (verdict == Verdict::kLonger) ++to.longer;
  if (verdict == Verdict::kDifferent) {
    ++to.different;
    if (!std::equal(theirs, theirs + 3, ours.frames)) ++to.wrong3;
  }
  Tell(kKindNames[kind], ours, theirs, reference.depth - from);
}

__thread sigjmp_buf* out_of_libgcc __attribute__((tls_model("initial-exec")));
struct sigaction hosts_action;

void OnFault(int signal, siginfo_t*, void*) {
  if (out_of_libgcc != nullptr) siglongjmp(*out_of_libgcc, 1);
  sigaction(signal, &hosts_action, nullptr);  // not ours: it happens again, and is the host's
}

// False: libgcc's walk has died. Nothing is put back between two walks, since threads walk at
// the same time; a host that sets its own handler in between is asked again by the next walk.
bool AskLibgcc(Reference* theirs) {
  struct sigaction now {};
  sigaction(SIGSEGV, nullptr, &now);
  if (now.sa_sigaction != &OnFault) {
    hosts_action = now;
    struct sigaction action {};
    action.sa_sigaction = &OnFault;
    action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
    sigaction(SIGSEGV, &action, nullptr);
  }
  sigjmp_buf here;
  if (sigsetjmp(here, 0) != 0) {
    out_of_libgcc = nullptr;
    return false;
  }
  out_of_libgcc = &here;
  CaptureReference(theirs);
  out_of_libgcc = nullptr;
  return true;
}

__attribute__((noinline)) void CompareHere(const void* caller) {
  busy = true;
  Stack ours;
  Reference theirs;
  CaptureStack(reinterpret_cast<std::uintptr_t>(caller), &ours);
  const bool whole = AskLibgcc(&theirs);
  // A walk that missed the frame it was to begin with keeps all of them.
  if (whole && ours.frames[0] == reinterpret_cast<std::uintptr_t>(caller)) {
    Judge(0, ours, theirs);
  } else {
    ++counts[0].absent;
  }
  busy = false;
}

void OnTimer(int, siginfo_t*, void* context) {
  if (busy) return;
  busy = true;
  const int kept = errno;
  Stack ours;
  Reference theirs;
  CaptureInterrupted(context, &ours);
  if (IsInLibgcc(ours.frames[0])) {
    ++counts[1].libgccs;
  } else if (AskLibgcc(&theirs)) {
    Judge(1, ours, theirs);
  } else {
    ++counts[1].absent;
    char text[128];
    Append(text,
           snprintf(text, sizeof(text), "libgcc died of %s at %lx\n", program, ours.frames[0]));
  }
  errno = kept;
  busy = false;
}

void StartTimer();

// In a forked child, which has the counters but not the timer.
void BeginAnew() {
  memset(static_cast<void*>(counts), 0, sizeof(counts));
  allocations = 0;
  StartTimer();
}

bool Due() {
  return !busy && report_path[0] != '\0' &&
         allocations.fetch_add(1, std::memory_order_relaxed) % every == every - 1;
}

unsigned long Setting(const char* name, unsigned long otherwise) {
  const char* text = getenv(name);
  return text != nullptr ? strtoul(text, nullptr, 10) : otherwise;
}

void StartTimer() {
  const auto period_us = Setting("UNWIND_TIMER_US", 1000);
  if (period_us == 0) return;
  struct sigaction action {};
  action.sa_sigaction = &OnTimer;
  action.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
  sigaction(SIGPROF, &action, nullptr);
  // A POSIX timer: an interval timer would outlive exec, and its signal would end what comes.
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGPROF;
  timer_t timer;
  const itimerspec period = {{0, static_cast<long>(period_us) * 1000},
                             {0, static_cast<long>(period_us) * 1000}};
  if (timer_create(CLOCK_MONOTONIC, &event, &timer) == 0) {
    timer_settime(timer, 0, &period, nullptr);
  }
}

__attribute__((constructor)) void Start() {
  const char* path = getenv("UNWIND_REPORT");
  if (path == nullptr || strlen(path) >= sizeof(report_path)) return;
  every = Setting("UNWIND_EVERY", 100);
  snprintf(program, sizeof(program), "%s", program_invocation_short_name);
  Reference first;  // what libgcc does once, it does now
  CaptureReference(&first);
  pthread_atfork(nullptr, nullptr, &BeginAnew);
  strcpy(report_path, path);
  StartTimer();
}

__attribute__((destructor)) void Report() {
  if (report_path[0] == '\0') return;
  busy = true;
  for (int kind = 0; kind < 2; ++kind) {
    const Counts& of = counts[kind];
    char line[4096];
    const int length =
        snprintf(line, sizeof(line), "stacks %s %s %ld %ld %ld %ld %ld %ld %ld %ld\n", program,
                 kKindNames[kind], of.compared.load(), of.identical.load(), of.truncated.load(),
                 of.longer.load(), of.different.load(), of.wrong3.load(), of.absent.load(),
                 of.libgccs.load());
    if (of.compared + of.absent > 0) Append(line, length);
  }
}

template <typename Function>
Function Next(const char* name, std::atomic<Function>& place) {
  Function next = place.load(std::memory_order_relaxed);
  if (next == nullptr) {
    next = reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
    if (next == nullptr) abort();
    place.store(next, std::memory_order_relaxed);
  }
  return next;
}
std::atomic<void* (*)(std::size_t)> next_malloc;
std::atomic<void* (*)(std::size_t, std::size_t)> next_calloc;

}  // namespace

extern "C" __attribute__((visibility("default"))) void* malloc(std::size_t size) {
  if (Due()) CompareHere(__builtin_return_address(0));
  return Next("malloc", next_malloc)(size);
}

extern "C" __attribute__((visibility("default"))) void* calloc(std::size_t count,
                                                               std::size_t size) {
  if (Due()) CompareHere(__builtin_return_address(0));
  return Next("calloc", next_calloc)(count, size);
}
