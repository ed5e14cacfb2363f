// C++ as people write it, compiled in several ways by the test that runs it: exceptions through
// many frames and libraries, virtual and recursive calls, callbacks from C, sorting, streams,
// threads, a stack that is realigned and one of variable length. Prints a sum; the argument
// says how often to do it all.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

struct Node {
  virtual ~Node() = default;
  virtual int Visit(int depth) const = 0;
};

struct Inner : Node {
  std::vector<std::unique_ptr<Node>> below;
  int Visit(int depth) const override {
    const std::string kept(static_cast<std::size_t>(depth) * 7 + 20, 'k');
    int sum = static_cast<int>(kept.size());
    for (const auto& node : below) {
      try {
        sum += node->Visit(depth + 1);
      } catch (const std::out_of_range& error) {
        sum += static_cast<int>(std::string(error.what()).size());
      }
    }
    if (depth % 5 == 3) throw std::runtime_error(kept);
    return sum;
  }
};

struct Leaf : Node {
  int Visit(int depth) const override {
    alignas(64) volatile double wide[8] = {1.0 * depth};
    auto* room = static_cast<volatile char*>(
        __builtin_alloca(static_cast<std::size_t>(depth * 100 + 16)));
    room[0] = static_cast<char>(depth);
    if (depth % 2 == 0) return std::stoi("9999999999999999999");  // out_of_range, in libstdc++
    std::ostringstream text;
    text << wide[0] << room[0];
    return static_cast<int>(text.str().size());
  }
};

std::unique_ptr<Node> Tree(int depth) {
  if (depth == 0) return std::make_unique<Leaf>();
  auto inner = std::make_unique<Inner>();
  for (int i = 0; i < 3; ++i) inner->below.push_back(Tree(depth - 1));
  return inner;
}

int Compare(const void* a, const void* b) {
  const std::string text(64, 'c');  // an allocation below qsort
  return *static_cast<const int*>(a) - *static_cast<const int*>(b) + (text.size() == 1 ? 1 : 0);
}

long Work() {
  long sum = 0;
  for (int depth = 1; depth < 6; ++depth) {
    const auto tree = Tree(depth);
    for (int i = 0; i < 20; ++i) {
      try {
        sum += tree->Visit(i % 4);
      } catch (const std::exception& error) {
        sum += static_cast<long>(std::string(error.what()).size());
      }
    }
  }
  std::vector<int> numbers(300);
  std::generate(numbers.begin(), numbers.end(),
                [n = 7]() mutable { return n = n * 31 % 1009; });
  std::qsort(numbers.data(), numbers.size(), sizeof(int), &Compare);
  std::map<std::string, std::function<long(long)>> actions;
  for (int i = 0; i < 50; ++i) actions[std::to_string(i)] = [i](long x) { return x % (i + 2); };
  const std::regex pattern("([a-z]+)=([0-9]+);");
  for (const auto& [name, action] : actions) {
    sum += action(numbers[0] + 17) + (std::regex_search("key=" + name + ";", pattern) ? 1 : 0);
  }
  return sum;
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 1;
  const auto work = [rounds](long* sum) {
    for (int round = 0; round < rounds; ++round) *sum += Work();
  };
  long sums[4] = {};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) threads.emplace_back(work, &sums[i]);
  for (std::thread& thread : threads) thread.join();
  work(&sums[3]);
  std::printf("%ld\n", sums[0] + sums[1] + sums[2] + sums[3]);
}
