#include "collect/allocator_stats.h"

#include <dlfcn.h>
#include <malloc.h>

#include <cstddef>

namespace heldby::collect {
namespace {

AllocatorStats OfGlibc() {
  const struct mallinfo2 info = mallinfo2();
  return {true, static_cast<std::int64_t>(info.uordblks + info.hblkhd),
          static_cast<std::int64_t>(info.fordblks),
          static_cast<std::int64_t>(info.arena + info.hblkhd)};
}

template <typename Function>
Function Find(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_DEFAULT, name));
}

AllocatorStats OfTcmalloc() {
  const auto ask =
      Find<int (*)(const char*, std::size_t*)>("MallocExtension_GetNumericProperty");
  std::size_t in_use = 0;
  std::size_t mapped = 0;
  std::size_t unmapped = 0;
  if (ask == nullptr || ask("generic.current_allocated_bytes", &in_use) == 0 ||
      ask("generic.heap_size", &mapped) == 0 ||
      ask("tcmalloc.pageheap_unmapped_bytes", &unmapped) == 0) {
    return {};
  }
  // heap_size counts what has been given back, too.
  mapped -= unmapped < mapped ? unmapped : mapped;
  return {true, static_cast<std::int64_t>(in_use),
          static_cast<std::int64_t>(mapped > in_use ? mapped - in_use : 0),
          static_cast<std::int64_t>(mapped)};
}

AllocatorStats OfJemalloc() {
  using Control = int (*)(const char*, void*, std::size_t*, void*, std::size_t);
  const auto control = Find<Control>("mallctl");
  if (control == nullptr) return {};
  std::uint64_t epoch = 1;
  std::size_t size = sizeof(epoch);
  if (control("epoch", &epoch, &size, &epoch, size) != 0) return {};
  const auto read = [control](const char* name, std::size_t* value) {
    std::size_t size_bytes = sizeof(*value);
    return control(name, value, &size_bytes, nullptr, 0) == 0;
  };
  std::size_t in_use = 0;
  std::size_t resident = 0;
  if (!read("stats.allocated", &in_use) || !read("stats.resident", &resident)) return {};
  return {true, static_cast<std::int64_t>(in_use),
          static_cast<std::int64_t>(resident > in_use ? resident - in_use : 0),
          static_cast<std::int64_t>(resident)};
}

}  // namespace

AllocatorStats ReadAllocatorStats(std::string_view allocator) {
  if (allocator == "glibc") return OfGlibc();
  if (allocator == "tcmalloc") return OfTcmalloc();
  if (allocator.find("jemalloc") != allocator.npos) return OfJemalloc();
  return {};  // mimalloc tells only by printing
}

}  // namespace heldby::collect
