// A program with a pool of its own behind the two basic operators: whatever form of delete is
// called, a block of the pool must come back to the pool.
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <vector>

static unsigned char pool[8 << 20];
static std::size_t used_bytes;
static long live_blocks;
static long foreign_blocks;

void* operator new(std::size_t size_bytes) {
  const std::size_t rounded = (size_bytes + 15) & ~std::size_t{15};
  if (used_bytes + rounded > sizeof(pool)) throw std::bad_alloc();
  void* block = pool + used_bytes;
  used_bytes += rounded;
  ++live_blocks;
  return block;
}

void operator delete(void* block) noexcept {
  if (block == nullptr) return;
  const auto* byte = static_cast<unsigned char*>(block);
  if (byte < pool || byte >= pool + sizeof(pool)) ++foreign_blocks;
  --live_blocks;
}

#pragma GCC diagnostic ignored "-Wsized-deallocation"

int main() {
  {
    std::vector<std::unique_ptr<std::string>> kept;
    for (int i = 0; i < 500; ++i) kept.push_back(std::make_unique<std::string>(2000, 'x'));
    std::map<int, std::string> names;
    for (int i = 0; i < 500; ++i) names[i] = std::string(100, 'y');
    auto* array = new int[100];
    delete[] array;
    ::operator delete (::operator new(64), std::size_t{64});
  }
  std::printf("live=%ld foreign=%ld\n", live_blocks, foreign_blocks);
  return live_blocks == 0 && foreign_blocks == 0 ? 9 : 1;
}
