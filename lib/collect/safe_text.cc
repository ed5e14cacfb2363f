#include "collect/safe_text.h"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace heldby::collect {

std::string SafeText(const char* text) {
  constexpr std::size_t kMost = 255;
  constexpr std::size_t kPage = 4096;
  std::string result;
  while (text != nullptr && result.size() < kMost) {
    // To the end of the page: the next one may be another's.
    const auto address = reinterpret_cast<std::uintptr_t>(text);
    const std::size_t wanted = std::min(kMost - result.size(), kPage - address % kPage);
    char copy[kMost];
    const iovec local = {copy, wanted};
    const iovec remote = {const_cast<char*>(text), wanted};
    const ssize_t got = process_vm_readv(gettid(), &local, 1, &remote, 1, 0);
    if (got <= 0) break;
    const std::size_t length = strnlen(copy, static_cast<std::size_t>(got));
    result.append(copy, length);
    if (length < static_cast<std::size_t>(got)) break;
    text += got;
  }
  return result;
}

}  // namespace heldby::collect
