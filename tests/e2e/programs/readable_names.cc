// Allocates once from each kind of function whose name people find hard to read, then serves.
#include <heldby/heldby.h>
#include <unistd.h>

#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace shop {

std::vector<std::unique_ptr<char[]>> kept;

__attribute__((noinline)) void Keep(std::size_t size_bytes) {
  kept.push_back(std::make_unique<char[]>(size_bytes));
}

template <typename Key, typename Value>
class Cache {
 public:
  __attribute__((noinline)) void Insert(Key, Value) { Keep(4000); }
};

struct Order {
  __attribute__((noinline)) Order() { Keep(5000); }
  __attribute__((noinline)) static void Reload() { Keep(6000); }
  __attribute__((noinline)) void operator()(int) const { Keep(7000); }
};

__attribute__((noinline)) void RunLambda() {
  const auto fill = [](int times) __attribute__((noinline)) {
    for (int i = 0; i < times; ++i) Keep(8000);
  };
  fill(2);
}

__attribute__((noinline)) void RunFunction() {
  const std::function<void()> task = [] { Keep(9000); };
  task();
}

namespace {
__attribute__((noinline)) void Hidden() { Keep(10000); }
}  // namespace

__attribute__((noinline)) void FillStandardContainers() {
  static std::map<int, std::string> names;
  for (int i = 0; i < 50; ++i) names.emplace(i, std::string(3000, 'x'));
}

}  // namespace shop

int main() {
  auto server = heldby::DebugServer::Start({.listen = "127.0.0.1:0"});
  if (!server) {
    std::fprintf(stderr, "%s\n", server.status().message().c_str());
    return 1;
  }
  shop::Cache<std::string, std::vector<int>>().Insert("key", {1});
  shop::Order()(1);
  shop::Order::Reload();
  shop::RunLambda();
  shop::RunFunction();
  shop::Hidden();
  shop::FillStandardContainers();
  std::printf("serves %s/debug/pprof/heap\n", server->address().c_str());
  std::fflush(stdout);
  char discarded;
  return read(STDIN_FILENO, &discarded, 1) < 0;  // until told to end
}
