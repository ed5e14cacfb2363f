// A stack of a chosen depth, captured in one of several ways.
//
//   stack_capture WAY DEPTH CAPTURES CHUNKS
//   WAY  heldby     core/stack/capture.h, whatever stands behind it
//        libgcc     _Unwind_Backtrace
//        libunwind  unw_backtrace (in stack_capture_libunwind only: loaded ahead of libgcc it
//                   takes over _Unwind_Backtrace, too)
//        frames     following frame pointers, in code that has them: the floor
//
// Prints "<ns per capture, fastest chunk> <frames> <ns of a new thread's first capture, median>
// <ns of the process's first> <allocations>".
#include <malloc.h>
#include <pthread.h>
#include <unwind.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "bench/call_chain.h"
#include "core/stack/capture.h"

#ifdef HELDBY_BENCH_LIBUNWIND
#define UNW_LOCAL_ONLY
#include <libunwind.h>
#endif

// Every allocation of the process is counted: a capture must not be one.
extern "C" void* __libc_malloc(std::size_t size);
static std::atomic<long> allocations{0};
extern "C" void* malloc(std::size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_malloc(size);
}

namespace heldby::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Capture = int (*)(core::Stack* stack);

__attribute__((noinline)) int CaptureByHeldby(core::Stack* stack) {
  core::CaptureStack(reinterpret_cast<std::uintptr_t>(__builtin_return_address(0)), stack);
  return stack->depth;
}

_Unwind_Reason_Code AddFrame(_Unwind_Context* context, void* argument) {
  auto* stack = static_cast<core::Stack*>(argument);
  if (stack->depth == core::kMaxStackDepth) return _URC_END_OF_STACK;
  stack->frames[stack->depth++] = _Unwind_GetIP(context);
  return _URC_NO_REASON;
}

__attribute__((noinline)) int CaptureByLibgcc(core::Stack* stack) {
  stack->depth = 0;
  _Unwind_Backtrace(&AddFrame, stack);
  return stack->depth;
}

#ifdef HELDBY_BENCH_LIBUNWIND
__attribute__((noinline)) int CaptureByLibunwind(core::Stack* stack) {
  stack->depth = unw_backtrace(reinterpret_cast<void**>(stack->frames), core::kMaxStackDepth);
  return stack->depth;
}
#endif

// No check of any kind, which no library could afford: it ends where the chain was entered,
// at `last_frame`.
std::uintptr_t last_frame;
__attribute__((noinline)) int CaptureByFramePointers(core::Stack* stack) {
  auto* frame = static_cast<std::uintptr_t*>(__builtin_frame_address(0));
  stack->depth = 0;
  while (reinterpret_cast<std::uintptr_t>(frame) < last_frame &&
         stack->depth < core::kMaxStackDepth) {
    stack->frames[stack->depth++] = frame[1];
    frame = reinterpret_cast<std::uintptr_t*>(frame[0]);
  }
  return stack->depth;
}

struct Job {
  Capture capture;
  long captures = 1;
  int depth = 0;
  double ns = 0;  // of the whole job
};

void Leaf(void* argument) {
  auto* job = static_cast<Job*>(argument);
  static thread_local core::Stack stack;
  stack.frames[0] = 0;  // the page of the buffer is not what is measured
  const auto start = Clock::now();
  for (long i = 0; i < job->captures; ++i) {
    job->depth = job->capture(&stack);
    asm volatile("" : : "r"(&stack) : "memory");
  }
  job->ns = std::chrono::duration<double, std::nano>(Clock::now() - start).count();
}

__attribute__((noinline)) void Run(int depth, Job* job) {
  last_frame = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  if (job->capture == &CaptureByFramePointers) {
    CallWithFramePointers(depth, &Leaf, job);
  } else {
    CallWithoutFramePointers(depth, &Leaf, job);
  }
}

double FirstOnNewThreadsNs(Capture capture, int depth, int threads) {
  struct Argument {
    Job job;
    int depth;
  };
  std::vector<double> ns;
  for (int i = 0; i < threads; ++i) {
    Argument argument{{.capture = capture}, depth};
    pthread_t thread;
    const auto body = [](void* pointer) -> void* {
      auto* mine = static_cast<Argument*>(pointer);
      Run(mine->depth, &mine->job);
      return nullptr;
    };
    if (pthread_create(&thread, nullptr, body, &argument) != 0) std::abort();
    pthread_join(thread, nullptr);
    ns.push_back(argument.job.ns);
  }
  std::sort(ns.begin(), ns.end());
  return ns[ns.size() / 2];
}

int Measure(Capture capture, int depth, long captures, long chunks) {
  Job first{.capture = capture};
  Run(depth, &first);

  // Unwinders may build their tables behind the first captures; wait for that, not for luck.
  const auto warm_at = Clock::now() + std::chrono::milliseconds(captures > 100 ? 300 : 20);
  while (Clock::now() < warm_at) {
    Job warm{.capture = capture, .captures = 100};
    Run(depth, &warm);
  }

  const long allocations_before = allocations.load();
  double best_ns = 1e12;
  Job job{.capture = capture, .captures = captures};
  for (long chunk = 0; chunk < chunks; ++chunk) {
    Run(depth, &job);
    best_ns = std::min(best_ns, job.ns / static_cast<double>(captures));
  }
  const long allocated = allocations.load() - allocations_before;
  const double thread_ns = FirstOnNewThreadsNs(capture, depth, captures > 100 ? 51 : 5);
  std::printf("%.2f %d %.0f %.0f %ld\n", best_ns, job.depth, thread_ns, first.ns, allocated);
  return 0;
}

}  // namespace
}  // namespace heldby::bench

int main(int argc, char** argv) {
  using namespace heldby::bench;
  if (argc == 5) {
    const int depth = std::atoi(argv[2]);
    const long captures = std::atol(argv[3]);
    const long chunks = std::atol(argv[4]);
    Capture capture = nullptr;
    if (std::strcmp(argv[1], "heldby") == 0) capture = &CaptureByHeldby;
    if (std::strcmp(argv[1], "libgcc") == 0) capture = &CaptureByLibgcc;
    if (std::strcmp(argv[1], "frames") == 0) capture = &CaptureByFramePointers;
#ifdef HELDBY_BENCH_LIBUNWIND
    if (std::strcmp(argv[1], "libunwind") == 0) capture = &CaptureByLibunwind;
#endif
    if (capture != nullptr) return Measure(capture, depth, captures, chunks);
  }
  std::fprintf(stderr,
               "usage: stack_capture {heldby|libgcc|libunwind|frames} DEPTH CAPTURES CHUNKS\n");
  return 2;
}
