// Walks while libraries come and go: one thread loads, calls, catches and unloads; others take
// their own stacks, and that thread's without asking it.
#include <dlfcn.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

#include "comparison.h"
#include "core/stack/module.h"
#include "core/stack/stack_memory.h"

namespace heldby::core {
namespace {

// Where the loading thread last was, in code of a library that may be gone by now.
std::atomic<std::uintptr_t> last_pc{0};
std::atomic<std::uintptr_t> last_sp{0};
std::atomic<std::uintptr_t> last_fp{0};

void InPlugin() {
  ExpectTheSameStack();
  last_pc.store(reinterpret_cast<std::uintptr_t>(__builtin_return_address(0)),
                std::memory_order_relaxed);
  last_fp.store(reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)),
                std::memory_order_relaxed);
  last_sp.store(reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)) + 16,
                std::memory_order_relaxed);
}

TEST(CaptureStack, AgreesWithLibgccWhileLibrariesComeAndGoAndThrow) {
  std::atomic<bool> stop{false};
  std::vector<std::thread> others;
  for (int i = 0; i < 2; ++i) {
    others.emplace_back([&] {
      while (!stop.load(std::memory_order_relaxed)) ExpectTheSameStack();
    });
  }
  others.emplace_back([&] {
    while (!stop.load(std::memory_order_relaxed)) {
      Stack stack;
      CaptureParked({.pc = last_pc.load(std::memory_order_relaxed),
                     .sp = last_sp.load(std::memory_order_relaxed),
                     .fp = last_fp.load(std::memory_order_relaxed)},
                    &stack);
      EXPECT_GE(stack.depth, 1);
    }
  });
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(3);
  int loads = 0;
  int caught = 0;
  for (; std::chrono::steady_clock::now() < end; ++loads) {
    void* library = dlopen(HELDBY_UNWIND_PLUGIN, RTLD_NOW);
    ASSERT_NE(library, nullptr) << dlerror();
    auto* call = reinterpret_cast<void (*)(void (*)())>(dlsym(library, "CallAndThrow"));
    ASSERT_NE(call, nullptr);
    try {
      call(&InPlugin);
    } catch (const std::runtime_error&) {
      ++caught;
    }
    ASSERT_EQ(dlclose(library), 0);
  }
  stop = true;
  for (std::thread& other : others) other.join();
  EXPECT_GT(loads, 20);
  EXPECT_EQ(caught, loads);
}

TEST(CaptureStack, IsCutWhereItIsLedIntoAHoleOfALibrary) {
  void* library = dlopen(HELDBY_UNWIND_PLUGIN, RTLD_NOW);
  ASSERT_NE(library, nullptr) << dlerror();
  Module module;
  ASSERT_TRUE(
      FindModule(reinterpret_cast<std::uintptr_t>(dlsym(library, "CallAndThrow")), &module));
  constexpr std::uintptr_t kPage = 4096;
  int holes = 0;
  for (auto at = reinterpret_cast<std::uintptr_t>(module.begin);
       at < reinterpret_cast<std::uintptr_t>(module.end); at += kPage) {
    if (PageIsReadable(at)) continue;
    ++holes;
    // At the first instruction of a function: what returns is what the stack pointer points to.
    const std::uintptr_t memory[4] = {at + kPage / 2};
    Stack stack;
    CaptureParked({.pc = reinterpret_cast<std::uintptr_t>(&dlopen),
                   .sp = reinterpret_cast<std::uintptr_t>(&memory[0]),
                   .fp = 0,
                   .fp_known = false},
                  &stack);
    EXPECT_EQ(stack.depth, 2);
    EXPECT_TRUE(stack.truncated);
  }
  EXPECT_GT(holes, 0) << "nothing is shown";
  ASSERT_EQ(dlclose(library), 0);
}

TEST(CaptureStack, RulesOfALibraryWithoutABuildIdAreNotTheNextOnes) {
  void* last_place = nullptr;
  int in_the_same_place = 0;
  for (int i = 0; i < 10; ++i) {
    void* library =
        dlopen(i % 2 == 0 ? HELDBY_NAMELESS_SMALL : HELDBY_NAMELESS_LARGE, RTLD_NOW);
    ASSERT_NE(library, nullptr) << dlerror();
    void* place = dlsym(library, "CallFromFrame");
    ASSERT_NE(place, nullptr);
    in_the_same_place += place == last_place ? 1 : 0;
    last_place = place;
    for (int again = 0; again < 3; ++again) {
      reinterpret_cast<void (*)(void (*)())>(place)(&ExpectTheSameStack);
    }
    ASSERT_EQ(dlclose(library), 0);
  }
  EXPECT_GT(in_the_same_place, 0) << "nothing was replaced: nothing is shown";
}

TEST(CaptureStack, ReadsOfALibraryWithoutABuildIdNothingBehindItsLastPage) {
  void* library = dlopen(HELDBY_NAMELESS_EDGE, RTLD_NOW);
  ASSERT_NE(library, nullptr) << dlerror();
  void* place = dlsym(library, "CallFromFrame");
  Module module;
  ASSERT_TRUE(FindModule(reinterpret_cast<std::uintptr_t>(place), &module));
  const auto table = reinterpret_cast<std::uintptr_t>(module.eh_frame_hdr);
  ASSERT_FALSE(PageIsReadable(table + 256)) << "nothing is shown";
  reinterpret_cast<void (*)(void (*)())>(place)(&ExpectTheSameStack);
  EXPECT_EQ(HashOfOther(module), Hash(module));
  ASSERT_EQ(dlclose(library), 0);
}

}  // namespace
}  // namespace heldby::core
