// Holds more and more memory: at a rate, up to an amount, each block touched.
//   grows MEGABYTES_PER_SECOND MEGABYTES [DIRECTORY [LEAST_FREE_BYTES COOLDOWN_SECONDS [late]]]
// Then it waits for a line on standard input: "again" frees most of it and begins anew, "frees"
// frees it, anything else is the end. With a directory it watches itself, from the
// beginning or, late, once it has grown.
// A new handler that does not come back stands for what a program does without memory.
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#ifdef WATCHES_ITSELF
#include <heldby/memory_watch.h>
#endif

namespace {

constexpr std::size_t kBlockBytes = 256 << 10;

struct Hoard {
  std::vector<std::unique_ptr<char[]>> blocks;

  __attribute__((noinline)) void Grow() {
    blocks.emplace_back(new char[kBlockBytes]);
    memset(blocks.back().get(), 1, kBlockBytes);
  }
};

void GrowTo(Hoard* hoard, double bytes_per_second, std::size_t bytes) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  const std::size_t had = hoard->blocks.size();
  while (hoard->blocks.size() * kBlockBytes < bytes) {
    hoard->Grow();
    const double grown = static_cast<double>((hoard->blocks.size() - had) * kBlockBytes);
    const std::chrono::duration<double> due(grown / bytes_per_second);
    std::this_thread::sleep_until(start + std::chrono::duration_cast<Clock::duration>(due));
  }
}

// Every byte of address space that is left: whatever still asks for one gets none.
void WaitWithNothingLeft() {
  std::puts("out of memory");
  std::fflush(stdout);
  for (;;) pause();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
#ifdef WATCHES_ITSELF
  static heldby::MemoryWatchOptions options{.directory = argv[3]};
#ifdef WATCHES_AGAIN_AT_EXIT
  // What was registered first runs last: the watch has been stopped by then.
  std::atexit([] {
    static const auto* const again = new auto(heldby::MemoryWatch::Start(options));
    std::puts(again->ok() ? "started at exit" : again->status().message().c_str());
  });
#endif
  if (argc > 4) options.least_free_bytes = std::atoll(argv[4]);
  if (argc > 5) options.cooldown_seconds = std::atoll(argv[5]);
  const bool is_late = argc > 6;
  std::optional<heldby::Result<heldby::MemoryWatch>> watch;
  const auto begin = [&watch] {
    watch = heldby::MemoryWatch::Start(options);
    std::puts(watch->ok() ? "watched" : watch->status().message().c_str());
    std::fflush(stdout);
  };
  if (!is_late) begin();
#endif
  std::set_new_handler(&WaitWithNothingLeft);
  Hoard hoard;
  hoard.blocks.reserve(1 << 16);
  const double rate = std::atof(argv[1]) * 1e6;
  const auto bytes = static_cast<std::size_t>(std::atof(argv[2]) * 1e6);
  GrowTo(&hoard, rate, bytes);
#ifdef WATCHES_ITSELF
  if (is_late) begin();
#endif
  std::puts("grown");
  std::fflush(stdout);
  for (std::string line; std::getline(std::cin, line);) {
    if (line == "frees" || line == "again") hoard.blocks.clear();
    if (line == "again") GrowTo(&hoard, rate, bytes);
    if (line != "frees" && line != "again") break;
    std::puts(line.c_str());
    std::fflush(stdout);
  }
  return 0;
}
