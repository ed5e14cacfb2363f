// The core inside the executable: malloc is the executable's own, and works.
#include <cstdlib>
#include <cstring>
#include <thread>

int main() {
  bool fine = true;
  std::thread([&fine] {
    for (int i = 1; i <= 10000; ++i) {
      char* block = static_cast<char*>(std::malloc(static_cast<std::size_t>(i) * 16));
      std::memset(block, 1, static_cast<std::size_t>(i) * 16);
      fine = fine && block[i * 16 - 1] == 1;
      std::free(block);
    }
  }).join();
  return fine ? 0 : 1;
}
