#include "watch/text_sink.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "profile/dump_format.h"

namespace heldby::watch {

void TextSink::Write(std::size_t bytes) {
  for (std::size_t done = 0; done < bytes && error_ == 0;) {
    const ssize_t wrote = write(fd_, buffer_ + done, bytes - done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) {
      error_ = wrote < 0 ? errno : EIO;
    } else {
      done += static_cast<std::size_t>(wrote);
    }
  }
}

bool TextSink::MakeRoom(std::size_t bytes) {
  if (line_is_too_long_) return false;
  if (used_ + bytes <= buffer_bytes_) return true;
  if (fd_ >= 0) Flush();
  line_is_too_long_ = used_ + bytes > buffer_bytes_;
  return !line_is_too_long_;
}

void TextSink::Flush() {
  if (fd_ < 0) return;
  Write(line_start_);
  flushed_bytes_ += line_start_;
  memmove(buffer_, buffer_ + line_start_, used_ - line_start_);
  used_ -= line_start_;
  line_start_ = 0;
}

TextSink& TextSink::Text(std::string_view text) {
  if (!text.empty() && MakeRoom(text.size())) {
    memcpy(buffer_ + used_, text.data(), text.size());
    used_ += text.size();
  }
  return *this;
}

TextSink& TextSink::Fill(char c, std::size_t count) {
  for (; count > 0; --count) Text({&c, 1});
  return *this;
}

TextSink& TextSink::Number(std::int64_t value, int width) {
  char digits[24];
  const char* end = std::to_chars(digits, digits + sizeof(digits), value).ptr;
  const auto size = static_cast<std::size_t>(end - digits);
  if (static_cast<std::size_t>(width) > size) {
    Fill(' ', static_cast<std::size_t>(width) - size);
  }
  return Text({digits, size});
}

TextSink& TextSink::Tenths(std::int64_t tenths) {
  return Number(tenths / 10).Text(".").Number(std::abs(tenths % 10));
}

TextSink& TextSink::Hex(std::uint64_t value) {
  char digits[24];
  const char* end = std::to_chars(digits, digits + sizeof(digits), value, 16).ptr;
  return Text({digits, static_cast<std::size_t>(end - digits)});
}

TextSink& TextSink::Escaped(std::string_view text) {
  constexpr char kDigits[] = "0123456789abcdef";
  if (text.empty()) return Text("-");
  // A lone "-" would be read as no text.
  if (text == "-") return Text("%2d");
  for (const char c : text) {
    if (!dump::IsEscaped(c)) {
      Text({&c, 1});
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    const char escape[] = {'%', kDigits[byte >> 4], kDigits[byte & 15]};
    Text({escape, sizeof(escape)});
  }
  return *this;
}

bool TextSink::EndLine() {
  Text("\n");
  const bool fits = !line_is_too_long_ && flushed_bytes_ + used_ <= limit_bytes_ && error_ == 0;
  if (fits) {
    line_start_ = used_;
  } else {
    used_ = line_start_;
    ++dropped_lines_;
  }
  line_is_too_long_ = false;
  return fits;
}

}  // namespace heldby::watch
