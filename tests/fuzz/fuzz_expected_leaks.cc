// The file of expected leaks: whatever is in it, patterns that are words, or a reason on one
// line; and matching is bounded by the product of both lengths.
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "profile/glob.h"
#include "runtime/leak_watch.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const int fd = ::memfd_create("expected", MFD_CLOEXEC);
  static const std::string path = "/proc/self/fd/" + std::to_string(fd);
  if (::ftruncate(fd, 0) != 0) return 0;
  if (::pwrite(fd, data, size, 0) != static_cast<ssize_t>(size)) return 0;
  const auto expected = heldby::runtime::ReadExpectedLeaks(path);
  if (!expected.ok()) {
    const std::string& why = expected.status().message();
    if (why.empty() || why.size() > 1024 || why.find('\n') != why.npos) std::abort();
    return 0;
  }
  for (const auto& [pattern, reason] : *expected) {
    if (pattern.empty() || pattern.find_first_of(" \t\n") != pattern.npos) std::abort();
    (void)heldby::MatchesGlob(pattern, "std::vector<int>::flush_all(aaaaaaaaaaaaaaaaaaaaaab)");
    if (!heldby::MatchesGlob(pattern + "*", pattern)) std::abort();
  }
  return 0;
}
