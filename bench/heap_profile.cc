// A process with 10,000 distinct allocation stacks, and what a heap profile of it costs.
//
//   heap_profile STACKS BLOCKS_PER_STACK WARM_RUNS     (HELDBY_SAMPLE_BYTES=1: every block)
//
// Prints "<ms first> <ms warm, median> <bytes of profile.proto.gz> <distinct stacks in it>
// <live samples> <table bytes> <functions in it>". A profile is SnapshotHeap(), symbols
// included, and EncodePprof().
//
// Symbolizing has 1,000 names and their lines to find in this program's DWARF, as it has in a
// service of middling size.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <vector>

#include "bench/distinct_stacks.h"
#include "core/core.h"
#include "heldby/heap.h"
#include "heldby/profile.h"

namespace heldby::bench {
namespace {

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
      blocks.push_back(AllocateAt(stack));
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
