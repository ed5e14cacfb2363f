// malloc(64)+free, or operator new(64)+sized delete, again and again: the whole of it.
//
//   malloc_pair {malloc|new} {spread|page} PAIRS CHUNKS [hooks]
//
// Prints "<ns per pair of the fastest chunk> <of the median chunk>". One source, linked once
// per allocator; "hooks" first installs two empty MallocHook functions. Block size as in the
// published figures of the peers (OpenTelemetry, libdatadog, Poireau), so that columns compare.
//
// A bare loop would recycle one block for ever, and whether that one happens to lie at a page
// boundary, where our free() has to look it up, would decide the result. So "spread" moves on
// every kPairsPerAddress pairs, through all positions of several pages in turn, and "page"
// stays on a block at a page boundary: the worst case, on purpose.
#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

#include "core/core.h"

// Whichever of them is in the process.
extern "C" {
__attribute__((weak)) const heldby::core::CoreApi* heldby_core_v1();
__attribute__((weak)) int MallocHook_AddNewHook(void (*hook)(const void*, std::size_t));
__attribute__((weak)) int MallocHook_AddDeleteHook(void (*hook)(const void*));
}

namespace {

constexpr std::size_t kBlockBytes = 64;

void EmptyNewHook(const void*, std::size_t) {}
void EmptyDeleteHook(const void*) {}

// The block escapes, so that neither half of the pair may be left out.
__attribute__((always_inline)) inline void Escape(void* block) {
  asm volatile("" : : "r"(block) : "memory");
}

struct ByMalloc {
  static void* Allocate() { return malloc(kBlockBytes); }
  static void Free(void* block) { free(block); }
};

struct ByNew {
  static void* Allocate() { return ::operator new(kBlockBytes); }
  static void Free(void* block) { ::operator delete(block, kBlockBytes); }
};

template <typename Way>
__attribute__((noinline)) void Pairs(long pairs) {
  for (long i = 0; i < pairs; ++i) {
    void* block = Way::Allocate();
    Escape(block);
    Way::Free(block);
  }
}

constexpr long kPairsPerAddress = 500;
constexpr std::size_t kAddresses = 512;  // 32 KiB of blocks: every offset in a page, 8 times

template <typename Way>
void SpreadPairs(long pairs) {
  static void* held[kAddresses];
  for (std::size_t at = 0; pairs > 0; pairs -= kPairsPerAddress, ++at) {
    void*& slot = held[at % kAddresses];
    Way::Free(slot);  // from the second lap on
    Pairs<Way>(std::min(pairs, kPairsPerAddress));
    slot = Way::Allocate();
  }
}

template <typename Way>
void HoldUntilNextIsAtPage() {
  for (;;) {
    void* block = Way::Allocate();
    Escape(block);
    if (reinterpret_cast<std::uintptr_t>(block) % 4096 == 0) {
      Way::Free(block);
      return;
    }
  }
}

template <typename Way>
double NsPerPair(bool at_page, long pairs) {
  const auto start = std::chrono::steady_clock::now();
  at_page ? Pairs<Way>(pairs) : SpreadPairs<Way>(pairs);
  const std::chrono::duration<double, std::nano> took =
      std::chrono::steady_clock::now() - start;
  return took.count() / static_cast<double>(pairs);
}

int Usage() {
  std::fprintf(stderr, "usage: malloc_pair {malloc|new} {spread|page} PAIRS CHUNKS [hooks]\n");
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) return Usage();
  const bool with_new = std::strcmp(argv[1], "new") == 0;
  const bool at_page = std::strcmp(argv[2], "page") == 0;
  const long pairs = std::atol(argv[3]);
  const long chunks = std::atol(argv[4]);
  if (pairs <= 0 || chunks <= 0) return Usage();
  if (argc > 5) {
    if (MallocHook_AddNewHook == nullptr || !MallocHook_AddNewHook(&EmptyNewHook) ||
        !MallocHook_AddDeleteHook(&EmptyDeleteHook)) {
      std::fprintf(stderr, "malloc_pair: no MallocHook in this process\n");
      return 1;
    }
  }
  // Instruction counts must repeat: the draws of the sampler start from a fixed seed.
  if (heldby_core_v1 != nullptr) heldby_core_v1()->seed_thread(1);

  if (at_page) with_new ? HoldUntilNextIsAtPage<ByNew>() : HoldUntilNextIsAtPage<ByMalloc>();
  std::vector<double> ns_per_pair(static_cast<std::size_t>(chunks));
  for (double& ns : ns_per_pair) {
    ns = with_new ? NsPerPair<ByNew>(at_page, pairs) : NsPerPair<ByMalloc>(at_page, pairs);
  }
  std::sort(ns_per_pair.begin(), ns_per_pair.end());
  std::printf("%.4f %.4f\n", ns_per_pair.front(), ns_per_pair[ns_per_pair.size() / 2]);
  return 0;
}
