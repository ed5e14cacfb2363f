// Prints the stack it takes of itself below qsort and a thread's start, then waits there, so
// that gdb can be asked for the same. Links the unwinder.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

#include "core/stack/capture.h"

namespace {

using heldby::core::CaptureStack;
using heldby::core::Stack;

[[gnu::noinline]] int Deep(int depth, const std::function<int()>& then) {
  volatile char ballast[48];
  ballast[0] = static_cast<char>(depth);
  const int result = depth > 0 ? Deep(depth - 1, then) : then();
  return result + ballast[0];
}

[[gnu::noinline]] int Show() {
  static Stack stack;
  CaptureStack(0, &stack);
  for (int i = 1; i < stack.depth; ++i) std::printf("frame 0x%lx\n", stack.frames[i]);
  std::printf("end\n");
  std::fflush(stdout);
  // Until somebody ends us; at most a minute.
  sleep(60);
  return stack.depth;
}

int Compare(const void*, const void*) {
  static bool shown = false;
  if (!shown) {
    shown = true;
    Deep(8, &Show);
  }
  return 0;
}

}  // namespace

int main() {
  std::vector<int> numbers(10);
  std::qsort(numbers.data(), numbers.size(), sizeof(int), &Compare);
}
