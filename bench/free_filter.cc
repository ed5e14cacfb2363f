// What a free of a block that was not sampled pays: the page filter beside a Bloom filter, both
// before the exact table.
//
//   free_filter {none|page|bloom} LIVE_SAMPLES FREES CHUNKS
//
// Prints "<ns per free of the fastest chunk> <share of unsampled frees that were looked up>".
// "none" is the loop alone. The addresses freed are real: those of this process's allocator
// (preload another to change it), from blocks of mixed sizes that come and go. The samples lie
// in the same address range and among the same blocks, at page boundaries for the page filter.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <unordered_set>
#include <vector>

#include "bench/bloom_filter.h"
#include "core/hooks/placement.h"
#include "core/sampler/live_table.h"

namespace heldby::bench {
namespace {

using core::LiveSample;
using core::LiveTable;

// Sizes as services have them: log-normal around 64 bytes, tail to 64 KiB. The window is what
// is alive at once; the addresses are those that leave it.
std::vector<std::uintptr_t> FreedAddresses(std::size_t count) {
  constexpr std::size_t kWindow = 20000;
  std::mt19937_64 random(7);
  std::lognormal_distribution<double> size_bytes(std::log(64.0), 1.3);
  std::vector<void*> window(kWindow);
  std::vector<std::uintptr_t> freed;
  freed.reserve(count);
  while (freed.size() < count) {
    void*& slot = window[random() % kWindow];
    if (slot != nullptr) freed.push_back(reinterpret_cast<std::uintptr_t>(slot));
    std::free(slot);
    slot = std::malloc(static_cast<std::size_t>(std::clamp(size_bytes(random), 1.0, 65536.0)));
  }
  for (void* block : window) std::free(block);
  return freed;
}

// Blocks that live on while others come and go, so none of `freed`: a heap with N samples at
// the default distance is N * 512 KiB long.
std::vector<std::uintptr_t> SampleAddresses(std::size_t count, std::size_t alignment,
                                            const std::vector<std::uintptr_t>& freed) {
  const std::unordered_set<std::uintptr_t> taken(freed.begin(), freed.end());
  const std::uintptr_t base = *std::min_element(freed.begin(), freed.end()) & ~4095ul;
  const std::uintptr_t length = std::max<std::uintptr_t>(count, 1) * 512 * 1024;
  std::mt19937_64 random(11);
  std::unordered_set<std::uintptr_t> chosen;
  while (chosen.size() < count) {
    const std::uintptr_t address = base + random() % length / alignment * alignment;
    if (!taken.contains(address)) chosen.insert(address);
  }
  return {chosen.begin(), chosen.end()};
}

struct NoFilter {
  static constexpr std::size_t kAlignment = 16;
  explicit NoFilter(const std::vector<std::uintptr_t>&) {}
  bool MayContain(std::uintptr_t) const { return false; }
};

struct PageFilter {
  static constexpr std::size_t kAlignment = core::kSampleAlign;
  explicit PageFilter(const std::vector<std::uintptr_t>&) {}
  __attribute__((always_inline)) bool MayContain(std::uintptr_t address) const {
    return core::MayBeSampled(reinterpret_cast<const void*>(address));
  }
};

struct Bloom : BloomFilter {
  static constexpr std::size_t kAlignment = 16;
  explicit Bloom(const std::vector<std::uintptr_t>& keys) : BloomFilter(keys.size()) {
    for (const std::uintptr_t key : keys) Insert(key);
  }
};

// Counts the look-ups, so that the table's work cannot be left out.
template <typename Filter>
__attribute__((noinline)) long FreeAll(const std::vector<std::uintptr_t>& addresses, long frees,
                                       const Filter& filter, LiveTable& table) {
  long looked_up = 0;
  const std::size_t mask = addresses.size() - 1;
  for (long i = 0; i < frees; ++i) {
    std::uintptr_t address = addresses[static_cast<std::size_t>(i) & mask];
    asm volatile("" : "+r"(address));
    if (filter.MayContain(address)) [[unlikely]] {
      LiveSample sample;
      if (table.Erase(address, &sample)) std::abort();  // none of these is a sample
      ++looked_up;
    }
  }
  return looked_up;
}

template <typename Filter>
bool EverySampleIsFound(const std::vector<std::uintptr_t>& samples, const Filter& filter,
                        LiveTable& table) {
  return std::all_of(samples.begin(), samples.end(), [&](std::uintptr_t address) {
    LiveSample sample;
    if (!filter.MayContain(address) || !table.Erase(address, &sample)) return false;
    return table.Insert(address, sample);
  });
}

template <typename Filter>
int Measure(std::size_t live, long frees, long chunks) {
  const std::vector<std::uintptr_t> freed = FreedAddresses(1 << 16);
  const auto samples = SampleAddresses(live, Filter::kAlignment, freed);
  static LiveTable table;
  for (const std::uintptr_t address : samples) {
    if (!table.Insert(address, LiveSample{.size_bytes = 64})) return 1;
  }
  const Filter filter(samples);
  if constexpr (!std::is_same_v<Filter, NoFilter>) {
    if (!EverySampleIsFound(samples, filter, table)) {
      std::fprintf(stderr, "free_filter: a sample was overlooked\n");
      return 1;
    }
  }

  double best_ns = 1e9;
  long looked_up = 0;
  for (long chunk = 0; chunk < chunks; ++chunk) {
    const auto start = std::chrono::steady_clock::now();
    looked_up += FreeAll(freed, frees, filter, table);
    const std::chrono::duration<double, std::nano> took =
        std::chrono::steady_clock::now() - start;
    best_ns = std::min(best_ns, took.count() / static_cast<double>(frees));
  }
  std::printf("%.4f %.6f\n", best_ns,
              static_cast<double>(looked_up) / static_cast<double>(frees * chunks));
  return 0;
}

}  // namespace
}  // namespace heldby::bench

int main(int argc, char** argv) {
  using namespace heldby::bench;
  if (argc == 5) {
    const auto live = static_cast<std::size_t>(std::atol(argv[2]));
    const long frees = std::atol(argv[3]);
    const long chunks = std::atol(argv[4]);
    if (std::strcmp(argv[1], "none") == 0) return Measure<NoFilter>(live, frees, chunks);
    if (std::strcmp(argv[1], "page") == 0) return Measure<PageFilter>(live, frees, chunks);
    if (std::strcmp(argv[1], "bloom") == 0) return Measure<Bloom>(live, frees, chunks);
  }
  std::fprintf(stderr, "usage: free_filter {none|page|bloom} LIVE_SAMPLES FREES CHUNKS\n");
  return 2;
}
