// Requests are worked on in an arena: blocks that are kept from one request to the next and all
// used again. An arena has as many as its largest request needed, which comes early. No leak.
#include "program.h"

namespace {

class Arena {
 public:
  static constexpr std::size_t kBlockBytes = 64 << 10;

  char* Allocate(std::size_t bytes) {
    bytes = std::min(bytes, kBlockBytes);
    if (blocks_.empty() || used_bytes_ + bytes > kBlockBytes) {
      ++current_;
      used_bytes_ = 0;
      if (current_ > blocks_.size()) AddBlock();
    }
    char* place = blocks_[current_ - 1].get() + used_bytes_;
    used_bytes_ += bytes;
    return place;
  }
  void Reset() {
    current_ = blocks_.empty() ? 0 : 1;
    used_bytes_ = 0;
  }

 private:
  [[gnu::noinline]] void AddBlock() {
    blocks_.push_back(std::make_unique<char[]>(kBlockBytes));
  }

  std::vector<std::unique_ptr<char[]>> blocks_;
  std::size_t current_ = 0;
  std::size_t used_bytes_ = 0;
};

void Work(const corpus::Program& program, std::uint64_t thread) {
  corpus::Random random = program.Stream(thread);
  Arena arena;
  // The largest comes in the first quarter, between others.
  const double largest_at = random.Uniform(0.05, 0.25);
  bool largest_was = false;
  const double mean = random.Uniform(60, 200);
  corpus::Pace requests(program, &random, random.Uniform(40, 120));
  while (requests.Next()) {
    double objects = std::min(random.Exponential(mean), 4 * mean);
    if (!largest_was && program.progress() > largest_at) {
      objects = 8 * mean;
      largest_was = true;
    }
    for (int i = 0; i < static_cast<int>(objects); ++i) {
      corpus::Use(arena.Allocate(random.Size()));
    }
    arena.Reset();
  }
}

}  // namespace

int main(int argc, char** argv) {
  corpus::Program program(argc, argv);
  std::vector<std::thread> threads;
  for (std::uint64_t i = 1; i <= 3; ++i) {
    threads.emplace_back([&program, i] { Work(program, i); });
  }
  for (std::thread& thread : threads) thread.join();
  return program.Done();
}
