// bench/distinct_stacks.h - as many allocation stacks as one likes: 1,000 functions, each an
// instantiation of its own; a path of kPathLength of them, chosen by the number of the stack,
// ends in malloc.
#pragma once

#include <array>
#include <cstdint>
#include <cstdlib>
#include <utility>

namespace heldby::bench {

inline constexpr int kFunctions = 1000;
inline constexpr int kPathLength = 20;
inline constexpr std::size_t kBlockBytes = 100;

struct Path {
  std::uint64_t state;  // which function comes next: a generator's, so that paths part early
  int left;
};

using Step = void* (*)(Path path);
inline Step StepAt(std::uint64_t number);

template <int kNumber>
struct Function {
  __attribute__((noinline)) static void* Call(Path path) {
    void* block;
    if (path.left == 0) {
      block = std::malloc(kBlockBytes);
    } else {
      path.state = path.state * 6364136223846793005u + 1442695040888963407u;
      block = StepAt((path.state >> 33) % kFunctions)({path.state, path.left - 1});
    }
    asm volatile("" : "+r"(block) : "i"(kNumber));  // no tail call, no merging of equal bodies
    return block;
  }
};

template <std::size_t... kNumbers>
constexpr std::array<Step, kFunctions> AllSteps(std::index_sequence<kNumbers...>) {
  return {&Function<static_cast<int>(kNumbers)>::Call...};
}

inline Step StepAt(std::uint64_t number) {
  static constexpr std::array<Step, kFunctions> kSteps =
      AllSteps(std::make_index_sequence<kFunctions>());
  return kSteps[number];
}

/// A block allocated by stack `number`.
inline void* AllocateAt(std::uint64_t number) {
  return StepAt(number % kFunctions)({(number + 1) * 0x9e3779b97f4a7c15u, kPathLength});
}

}  // namespace heldby::bench
