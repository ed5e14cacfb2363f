#include "collect/safe_text.h"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace heldby::collect {

std::size_t CopySafeText(const char* text, char (&copy)[kSafeTextBytes]) {
  constexpr std::size_t kPage = 4096;
  std::size_t size = 0;
  while (text != nullptr && size < kSafeTextBytes) {
    // To the end of the page: the next one may be another's.
    const auto address = reinterpret_cast<std::uintptr_t>(text);
    const std::size_t wanted = std::min(kSafeTextBytes - size, kPage - address % kPage);
    const iovec local = {copy + size, wanted};
    const iovec remote = {const_cast<char*>(text), wanted};
    const ssize_t got = process_vm_readv(gettid(), &local, 1, &remote, 1, 0);
    if (got <= 0) break;
    const std::size_t length = strnlen(copy + size, static_cast<std::size_t>(got));
    size += length;
    if (length < static_cast<std::size_t>(got)) break;
    text += got;
  }
  return size;
}

std::string SafeText(const char* text) {
  char copy[kSafeTextBytes];
  return {copy, CopySafeText(text, copy)};
}

}  // namespace heldby::collect
