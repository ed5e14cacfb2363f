// A process with 10,000 distinct allocation stacks, and what a heap profile of it costs.
//
//   heap_profile STACKS BLOCKS_PER_STACK WARM_RUNS     (HELDBY_SAMPLE_BYTES=1: every block)
//
// Prints "<ms first> <ms warm, median> <bytes of profile.proto.gz> <distinct stacks in it>
// <live samples> <table bytes> <functions in it>". A profile is SnapshotHeap(), symbols
// included, and EncodePprof().
//
// The stacks: 1,000 functions, each an instantiation of its own; a path of kPathLength of them,
// chosen by the number of the stack, ends in malloc. Symbolizing has 1,000 names and their
// lines to find in this program's DWARF, as it has in a service of middling size.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <utility>
#include <vector>

#include "core/core.h"
#include "heldby/heap.h"
#include "heldby/profile.h"

namespace heldby::bench {
namespace {

constexpr int kFunctions = 1000;
constexpr int kPathLength = 20;
constexpr std::size_t kBlockBytes = 100;

struct Path {
  std::uint64_t state;  // which function comes next: a generator's, so that paths part early
  int left;
};

using Step = void* (*)(Path path);
extern const std::array<Step, kFunctions> steps;

template <int kNumber>
struct Function {
  __attribute__((noinline)) static void* Call(Path path) {
    void* block;
    if (path.left == 0) {
      block = std::malloc(kBlockBytes);
    } else {
      path.state = path.state * 6364136223846793005u + 1442695040888963407u;
      block = steps[(path.state >> 33) % kFunctions]({path.state, path.left - 1});
    }
    asm volatile("" : "+r"(block) : "i"(kNumber));  // no tail call, no merging of equal bodies
    return block;
  }
};

template <std::size_t... kNumbers>
constexpr std::array<Step, kFunctions> AllSteps(std::index_sequence<kNumbers...>) {
  return {&Function<static_cast<int>(kNumbers)>::Call...};
}
const std::array<Step, kFunctions> steps = AllSteps(std::make_index_sequence<kFunctions>());

struct Taken {
  double ms = 0;
  std::size_t bytes = 0;
  Profile profile{};
};

bool Take(Taken* taken) {
  const auto start = std::chrono::steady_clock::now();
  auto profile = SnapshotHeap();
  if (!profile) {
    std::fprintf(stderr, "heap_profile: %s\n", profile.status().message().c_str());
    return false;
  }
  auto bytes = EncodePprof(*profile);
  const std::chrono::duration<double, std::milli> took =
      std::chrono::steady_clock::now() - start;
  if (!bytes) {
    std::fprintf(stderr, "heap_profile: %s\n", bytes.status().message().c_str());
    return false;
  }
  taken->ms = took.count();
  taken->bytes = bytes->size();
  taken->profile = *std::move(profile);
  return true;
}

int Measure(std::uint64_t stacks, int blocks_per_stack, int warm_runs) {
  std::vector<void*> blocks;
  blocks.reserve(stacks * static_cast<std::size_t>(blocks_per_stack));
  for (std::uint64_t stack = 0; stack < stacks; ++stack) {
    for (int i = 0; i < blocks_per_stack; ++i) {
      const Path path{(stack + 1) * 0x9e3779b97f4a7c15u, kPathLength};
      blocks.push_back(steps[stack % kFunctions](path));
    }
  }
  const core::Counters counters = heldby_core_v1()->read_counters();

  Taken first;
  if (!Take(&first)) return 1;
  std::vector<double> warm_ms;
  Taken warm;
  for (int run = 0; run < warm_runs; ++run) {
    if (!Take(&warm)) return 1;
    warm_ms.push_back(warm.ms);
  }
  std::sort(warm_ms.begin(), warm_ms.end());
  std::set<std::vector<LocationId>> distinct;
  for (const Sample& sample : warm.profile.samples) distinct.insert(sample.stack);
  std::printf(
      "%.2f %.2f %zu %zu %llu %llu %zu\n", first.ms, warm_ms[warm_ms.size() / 2], warm.bytes,
      distinct.size(), static_cast<unsigned long long>(counters.live_samples),
      static_cast<unsigned long long>(counters.table_bytes), warm.profile.functions.size());
  for (void* block : blocks) std::free(block);
  return 0;
}

}  // namespace
}  // namespace heldby::bench

int main(int argc, char** argv) {
  if (argc == 4) {
    const int stacks = std::atoi(argv[1]);
    const int blocks_per_stack = std::atoi(argv[2]);
    const int warm_runs = std::atoi(argv[3]);
    if (stacks > 0 && blocks_per_stack > 0 && warm_runs > 0) {
      return heldby::bench::Measure(static_cast<std::uint64_t>(stacks), blocks_per_stack,
                                    warm_runs);
    }
  }
  std::fprintf(stderr, "usage: heap_profile STACKS BLOCKS_PER_STACK WARM_RUNS\n");
  return 2;
}
