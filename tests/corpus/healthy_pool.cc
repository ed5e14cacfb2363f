// Buffers come from a pool, which makes one when none is free and never gives one back. It has
// as many as were once in use together; that peak is reached early. No leak.
#include <mutex>

#include "program.h"

namespace {

class Pool {
 public:
  using Buffer = std::unique_ptr<std::vector<char>>;

  Buffer Take() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (free_.empty()) return Make();
    Buffer buffer = std::move(free_.back());
    free_.pop_back();
    return buffer;
  }
  void Return(Buffer buffer) {
    const std::lock_guard<std::mutex> lock(mutex_);
    free_.push_back(std::move(buffer));
  }

 private:
  [[gnu::noinline]] static Buffer Make() { return std::make_unique<std::vector<char>>(32'768); }

  std::mutex mutex_;
  std::vector<Buffer> free_;
};

void Serve(const corpus::Program& program, Pool* pool, std::uint64_t thread) {
  corpus::Random random = program.Stream(thread);
  const std::size_t usual = random.Between(15, 50);
  std::deque<Pool::Buffer> in_use;
  corpus::Pace requests(program, &random, random.Uniform(300, 700));
  // The largest rush comes in the first quarter; later ones stay below it.
  const double rush = random.Uniform(0.08, 0.25);
  while (requests.Next()) {
    const bool is_rush = program.progress() > rush && program.progress() < rush + 0.06;
    const std::size_t most = is_rush ? 4 * usual : random.Between(usual / 2, 2 * usual);
    in_use.push_back(pool->Take());
    while (in_use.size() > most) {
      pool->Return(std::move(in_use.front()));
      in_use.pop_front();
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  corpus::Program program(argc, argv);
  Pool pool;
  std::vector<std::thread> threads;
  for (std::uint64_t i = 1; i <= 2; ++i) {
    threads.emplace_back([&, i] { Serve(program, &pool, i); });
  }
  for (std::thread& thread : threads) thread.join();
  return program.Done();
}
