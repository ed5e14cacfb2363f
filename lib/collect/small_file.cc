#include "collect/small_file.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "profile/text.h"

namespace heldby::collect {

std::string SmallFile(const std::string& path) {
  constexpr std::size_t kMost = 64 << 10;
  std::string text;
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (fd < 0) return text;
  char part[4096];
  try {
    while (text.size() < kMost) {
      const ssize_t size = read(fd, part, sizeof(part));
      if (size < 0 && errno == EINTR) continue;
      if (size <= 0) break;
      text.append(part, static_cast<std::size_t>(size));
    }
  } catch (...) {  // bad_alloc
    close(fd);
    throw;
  }
  close(fd);
  return text;
}

std::optional<std::int64_t> NumberAfter(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (!line.starts_with(key)) continue;
    line.remove_prefix(key.size());
    while (!line.empty() && absl::ascii_isspace(static_cast<unsigned char>(line[0]))) {
      line.remove_prefix(1);
    }
    std::size_t digits = 0;
    while (digits < line.size() &&
           absl::ascii_isdigit(static_cast<unsigned char>(line[digits]))) {
      ++digits;
    }
    std::int64_t number = 0;
    if (!absl::SimpleAtoi(AsPiece(line.substr(0, digits)), &number)) return std::nullopt;
    return number;
  }
  return std::nullopt;
}

}  // namespace heldby::collect
