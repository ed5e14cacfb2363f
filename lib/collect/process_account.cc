#include "collect/process_account.h"

#include <dirent.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "collect/proc_task.h"
#include "collect/small_file.h"
#include "collect/threads.h"

namespace heldby::collect {
namespace {

std::int64_t LimitOf(__rlimit_resource resource) {
  rlimit limit{};
  if (getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return -1;
  return static_cast<std::int64_t>(limit.rlim_cur);
}

double Seconds(const timespec& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

double SecondsOf(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return Seconds(now);
}

// What a stack has that nobody asked another size for. It is the bound for all of them: one
// that the program made of its own memory may have no guard page, and that memory beneath it.
std::uintptr_t UsualStackBytes() {
  constexpr std::size_t kLeast = 8 << 20;
  std::size_t size = 0;
  pthread_attr_t usual;
  if (pthread_getattr_default_np(&usual) != 0) return kLeast;
  pthread_attr_getstacksize(&usual, &size);
  pthread_attr_destroy(&usual);
  return std::max(size, kLeast);
}

// A stack is touched from its end downwards, without holes but for frames that skip pages: from
// there to the first page that is not resident, which its guard page is not either, or to
// `low`, where the next one ends.
std::int64_t ResidentStackBetween(std::uintptr_t low, std::uintptr_t high) {
  constexpr std::size_t kPage = 4096;
  constexpr std::size_t kPagesAtOnce = 16;
  std::int64_t resident = 0;
  for (std::uintptr_t end = high; end > kPagesAtOnce * kPage; end -= kPagesAtOnce * kPage) {
    unsigned char pages[kPagesAtOnce] = {};
    // Fails as a whole where the lowest page is not mapped at all: then a page at a time.
    if (mincore(reinterpret_cast<void*>(end - sizeof(pages) * kPage), sizeof(pages) * kPage,
                pages) != 0) {
      for (std::size_t i = kPagesAtOnce; i-- > 0;) {
        const std::uintptr_t at = end - (kPagesAtOnce - i) * kPage;
        if (mincore(reinterpret_cast<void*>(at), kPage, &pages[i]) != 0) break;
      }
    }
    for (std::size_t i = kPagesAtOnce; i-- > 0;) {
      const std::uintptr_t at = end - (kPagesAtOnce - i) * kPage;
      if ((pages[i] & 1) == 0 || at < low) return resident;
      resident += kPage;
    }
  }
  return resident;
}

}  // namespace

// By the calling thread: /proc/self is the first one, which may have ended before the others.
ProcessAccount ReadProcess() {
  const std::string status = SmallFile("/proc/thread-self/status");
  const auto bytes = [&status](const char* key) {
    return NumberAfter(status, key).value_or(0) * 1024;
  };
  return {.cpu_seconds = SecondsOf(CLOCK_PROCESS_CPUTIME_ID),
          .virtual_bytes = bytes("VmSize:"),
          .resident_bytes = bytes("VmRSS:"),
          .resident_anonymous_bytes = bytes("RssAnon:"),
          .resident_file_bytes = bytes("RssFile:"),
          .resident_shared_bytes = bytes("RssShmem:"),
          .threads = NumberAfter(status, "Threads:").value_or(0),
          .max_fds = LimitOf(RLIMIT_NOFILE),
          .max_virtual_bytes = LimitOf(RLIMIT_AS)};
}

double ProcessStartSeconds() {
  // Behind the name, which may have spaces and parentheses in it: fields from the third on.
  const std::string stat = SmallFile("/proc/self/stat");
  const std::size_t name_end = stat.rfind(") ");
  if (name_end == stat.npos) return 0;
  const std::vector<std::string> fields = absl::StrSplit(stat.substr(name_end + 2), ' ');
  constexpr std::size_t kStartTime = 22 - 3;
  std::int64_t ticks = 0;
  if (fields.size() <= kStartTime || !absl::SimpleAtoi(fields[kStartTime], &ticks)) return 0;
  const double since_boot =
      static_cast<double>(ticks) / static_cast<double>(sysconf(_SC_CLK_TCK));
  return SecondsOf(CLOCK_REALTIME) - (SecondsOf(CLOCK_BOOTTIME) - since_boot);
}

std::int64_t CountOpenDescriptors() {
  struct stat directory {};
  if (stat("/proc/thread-self/fd", &directory) == 0 && directory.st_size > 0) {
    return directory.st_size;
  }
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(opendir("/proc/thread-self/fd"), &closedir);
  if (folder == nullptr) return 0;
  std::int64_t count = 0;
  while (const dirent* entry = readdir(folder.get())) count += entry->d_name[0] != '.';
  return count - 1;  // the one that it is read by
}

std::int64_t ResidentStackBytes(const core::CoreApi& core) {
  std::int64_t resident =
      NumberAfter(SmallFile("/proc/thread-self/status"), "VmStk:").value_or(0) * 1024;
  const std::int32_t first = getpid();
  std::vector<std::uintptr_t> ends;
  for (const std::int32_t tid : ThreadIds()) {
    core::ThreadView thread{};
    if (tid == first || !core.threads->read(tid, &thread)) continue;
    if (thread.stack_high != 0) ends.push_back(thread.stack_high);
  }
  std::ranges::sort(ends);
  const std::uintptr_t most = UsualStackBytes();
  std::uintptr_t below = 0;
  for (const std::uintptr_t end : ends) {
    resident += ResidentStackBetween(std::max(below, end - std::min(end, most)), end);
    below = end;
  }
  return resident;
}

ResidentParts Divide(const ProcessAccount& process, std::int64_t live_bytes,
                     std::int64_t stack_bytes, std::int64_t profiler_bytes) {
  ResidentParts parts;
  std::int64_t left = process.resident_bytes;
  const auto take = [&left](std::int64_t bytes) {
    const std::int64_t taken = std::clamp<std::int64_t>(bytes, 0, left);
    left -= taken;
    return taken;
  };
  parts.file_bytes = take(process.resident_file_bytes);
  parts.shared_bytes = take(process.resident_shared_bytes);
  parts.stack_bytes = take(stack_bytes);
  parts.profiler_bytes = take(profiler_bytes);
  parts.heap_bytes = take(live_bytes);
  parts.allocator_bytes = left;
  return parts;
}

}  // namespace heldby::collect
