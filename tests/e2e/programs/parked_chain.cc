// Threads that park below generated functions, and the passive walk of each beside what libgcc
// saw in the thread itself just before. Links the unwinder; GENERATED is what parked_code.py
// wrote.
//
//   parked_chain ROUNDS
//
// Prints "stacks <compared> <whole> <cut> <wrong>": each thread's, from where it waits;
// "frames", the same for walks that begin at each of its frames, so that each has to be found
// without a frame pointer; and each wrong one. Then "ns <of a walk>", warm.
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <unwind.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <thread>
#include <vector>

#include "core/stack/capture.h"

namespace {

using heldby::core::CaptureParked;
using heldby::core::Registers;
using heldby::core::Stack;

enum Wait { kPoll, kRead, kFutex, kSleep, kWaits };

// A frame as libgcc sees it.
struct Frame {
  std::uintptr_t pc;
  std::uintptr_t sp;
};

struct Chain {
  long seed = 1;
  std::vector<Frame> own;  // of Rest, and above
  std::atomic<int> tid{0};
  std::atomic<int> rests{0};  // how often it has come to rest
  Wait wait = kPoll;
  int pipes[2] = {-1, -1};
  sem_t semaphore;
  std::atomic<bool> woken{false};

  [[gnu::noinline]] long Pick() {
    seed = static_cast<long>(static_cast<unsigned long>(seed) * 6364136223846793005u + 1442695);
    return seed >> 33 & 0xffff;
  }
  [[gnu::noinline]] long Down(long depth);
};

[[gnu::noinline]] void Use(char* bytes) { asm volatile("" : : "r"(bytes) : "memory"); }

[[gnu::noinline]] long Rest(Chain& chain) {
  chain.own.clear();
  _Unwind_Backtrace(
      [](_Unwind_Context* context, void* argument) {
        const std::uintptr_t pc = _Unwind_GetIP(context);
        if (pc != 0)
          static_cast<Chain*>(argument)->own.push_back({pc, _Unwind_GetCFA(context)});
        return _URC_NO_REASON;
      },
      &chain);
  chain.rests.fetch_add(1);
  char byte = 0;
  pollfd descriptor{chain.pipes[0], POLLIN, 0};
  timespec long_time{100, 0};
  switch (chain.wait) {
    case kPoll:
      poll(&descriptor, 1, -1);
      break;
    case kRead:
      break;
    case kFutex:
      while (sem_wait(&chain.semaphore) != 0) {
      }
      break;
    case kSleep:
      while (!chain.woken.load()) nanosleep(&long_time, nullptr);
      break;
    case kWaits:
      break;
  }
  if (chain.wait == kPoll || chain.wait == kRead) {
    if (read(chain.pipes[0], &byte, 1) != 1) std::abort();
  }
  return byte;
}

long DownCall(long depth, Chain& chain);
[[gnu::noinline]] long DownThere(long depth, Chain& chain) {
  return depth > 0 ? DownCall(depth, chain) : Rest(chain);
}
[[gnu::always_inline]] inline long DownInline(long depth, Chain& chain);

#include GENERATED

constexpr auto kCount = static_cast<long>(std::size(kEnter));

[[gnu::noinline]] long DownCall(long depth, Chain& chain) { return DownInline(depth, chain); }
long DownInline(long depth, Chain& chain) {
  if (depth <= 0) return Rest(chain);
  return kEnter[chain.Pick() % kCount](depth - 1, chain);
}
long Chain::Down(long depth) { return DownInline(depth, *this); }

// Where thread `tid` waits; false: it does not.
bool RegistersOf(int tid, Registers* registers) {
  char text[256] = {};
  std::snprintf(text, sizeof(text), "/proc/self/task/%d/syscall", tid);
  std::FILE* file = std::fopen(text, "re");
  if (file == nullptr) return false;
  const bool got = std::fgets(text, sizeof(text), file) != nullptr;
  std::fclose(file);
  const char* pc = got ? std::strrchr(text, ' ') : nullptr;
  if (pc == nullptr) return false;
  const char* sp = pc - 1;
  while (sp > text && *sp != ' ') --sp;
  *registers = {.pc = std::strtoul(pc, nullptr, 16),
                .sp = std::strtoul(sp, nullptr, 16),
                .fp = 0,
                .fp_known = false};
  return registers->sp != 0;
}

struct Totals {
  long compared = 0;
  long whole = 0;
  long cut = 0;
  long wrong = 0;
};

// `count` frames are expected from `first` on; what the walk has from `begin` on.
void Compare(const Chain& chain, std::size_t first, const Stack& walked, int begin,
             Totals* totals) {
  ++totals->compared;
  const auto expected = static_cast<int>(chain.own.size() - first);
  const int count = walked.depth - begin;
  bool agree = count <= expected;
  for (int i = 0; i < count && agree; ++i) {
    agree = walked.frames[begin + i] == chain.own[first + static_cast<std::size_t>(i)].pc;
  }
  if (agree && !walked.truncated && count == expected) {
    ++totals->whole;
  } else if (agree && walked.truncated) {
    ++totals->cut;
    if (std::getenv("SHOW_CUTS") != nullptr && walked.depth > 1) {
      std::printf("cut at 0x%lx\n", walked.frames[walked.depth - 1]);
    }
  } else {
    ++totals->wrong;
    std::printf("wrong: wait %d%s, walked", chain.wait, walked.truncated ? ", cut" : "");
    for (int i = begin; i < walked.depth; ++i) std::printf(" 0x%lx", walked.frames[i]);
    std::printf("\n  libgcc");
    for (std::size_t i = first; i < chain.own.size(); ++i)
      std::printf(" 0x%lx", chain.own[i].pc);
    std::printf("\n");
  }
}

// The frames of the C library and of Rest itself are below what libgcc saw.
void CompareParked(const Chain& chain, const Registers& at, Totals* totals) {
  Stack walked;
  CaptureParked(at, &walked);
  int begin = 0;
  while (begin < walked.depth && walked.frames[begin] != chain.own[1].pc) ++begin;
  if (begin > 4) begin = 4;
  Compare(chain, 1, walked, begin, totals);
}

// As if the frame had called a function that is at its first instruction.
void CompareFrom(const Chain& chain, std::size_t first, Totals* totals) {
  Stack walked;
  CaptureParked({.pc = reinterpret_cast<std::uintptr_t>(&Rest),
                 .sp = chain.own[first].sp - 8,
                 .fp = 0,
                 .fp_known = false},
                &walked);
  Compare(chain, first, walked, 1, totals);
}

// At rest for the `count`th time, and in the kernel at the same place twice.
bool IsAtRest(const Chain& chain, int count, Registers* registers) {
  for (int i = 0; i < 20'000; ++i) {
    Registers again;
    if (chain.rests.load() >= count && RegistersOf(chain.tid, registers)) {
      usleep(500);
      if (RegistersOf(chain.tid, &again) && again.pc == registers->pc &&
          again.sp == registers->sp) {
        return true;
      }
    }
    usleep(500);
  }
  return false;
}

void Wake(Chain& chain, std::thread& thread) {
  switch (chain.wait) {
    case kFutex:
      sem_post(&chain.semaphore);
      break;
    case kSleep:
      chain.woken = true;
      pthread_kill(thread.native_handle(), SIGUSR1);
      break;
    default:
      if (write(chain.pipes[1], "x", 1) != 1) std::abort();
  }
}

double WalkNs(const Registers& registers) {
  constexpr int kWalks = 200;
  const auto begin = std::chrono::steady_clock::now();
  Stack stack;
  for (int i = 0; i < kWalks; ++i) CaptureParked(registers, &stack);
  return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - begin)
             .count() /
         kWalks;
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 10;
  constexpr int kThreads = 8;
  struct sigaction nothing {};
  nothing.sa_handler = [](int) {};
  sigaction(SIGUSR1, &nothing, nullptr);
  std::vector<Chain> chains(kThreads);
  Totals stacks;
  Totals frames;
  double ns = 0;
  for (int round = 0; round < rounds; ++round) {
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i) {
      Chain& chain = chains[static_cast<std::size_t>(i)];
      chain.seed = round * kThreads + i + 1;
      chain.wait = static_cast<Wait>((round + i) % kWaits);
      chain.woken = false;
      chain.rests = 0;
      if (round == 0 && (pipe(chain.pipes) != 0 || sem_init(&chain.semaphore, 0, 0) != 0)) {
        return 1;
      }
      threads.emplace_back([&chain] {
        chain.tid = static_cast<int>(syscall(SYS_gettid));
        DownCall(15, chain);
        // Some shapes go down more than once; what is at rest once more is not looked at.
        chain.tid = 0;
      });
    }
    for (int i = 0; i < kThreads; ++i) {
      Chain& chain = chains[static_cast<std::size_t>(i)];
      Registers registers;
      if (!IsAtRest(chain, 1, &registers)) return 2;
      CompareParked(chain, registers, &stacks);
      for (std::size_t at = 1; at < chain.own.size(); ++at) CompareFrom(chain, at, &frames);
      if (round + 1 == rounds) ns += WalkNs(registers) / kThreads;
      Wake(chain, threads[static_cast<std::size_t>(i)]);
    }
    for (std::thread& thread : threads) thread.join();
  }
  for (const Totals* totals : {&stacks, &frames}) {
    std::printf("%s %ld %ld %ld %ld\n", totals == &stacks ? "stacks" : "frames",
                totals->compared, totals->whole, totals->cut, totals->wrong);
  }
  std::printf("ns %.0f\n", ns);
}
