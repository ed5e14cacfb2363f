// watch/text_sink.h - lines of text into a file or into memory, through a buffer that is there.
//
// Threads  one.   Signals  unsafe.   Allocates  never.
// Units    bytes.
// Bounds   limit_bytes: a line that would pass it is left out whole, and counted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace heldby::watch {

class TextSink {
 public:
  /// `fd` -1: everything stays in the buffer.
  TextSink(int fd, char* buffer, std::size_t buffer_bytes, std::size_t limit_bytes)
      : fd_(fd), buffer_(buffer), buffer_bytes_(buffer_bytes), limit_bytes_(limit_bytes) {}

  TextSink& Text(std::string_view text);
  TextSink& Number(std::int64_t value, int width = 0);
  TextSink& Hex(std::uint64_t value);
  /// With what dump::IsEscaped() names written as %XX; "-" for no text.
  TextSink& Escaped(std::string_view text);
  TextSink& Fill(char c, std::size_t count);
  /// In tenths: 123 is "12.3".
  TextSink& Tenths(std::int64_t tenths);

  /// Ends the line; it is in the file, or left out. False: left out.
  bool EndLine();
  /// Where the line has come to.
  std::size_t column() const { return used_ - line_start_; }

  /// What is buffered goes to the file.
  void Flush();

  /// From now on lines may use what was kept back for the end.
  void set_limit(std::size_t limit_bytes) { limit_bytes_ = limit_bytes; }

  std::size_t bytes() const { return flushed_bytes_ + line_start_; }
  std::uint64_t dropped_lines() const { return dropped_lines_; }
  int error() const { return error_; }  // errno of a write that failed; 0: none

 private:
  bool MakeRoom(std::size_t bytes);
  void Write(std::size_t bytes);

  const int fd_;
  char* const buffer_;
  const std::size_t buffer_bytes_;
  std::size_t limit_bytes_;
  std::size_t used_ = 0;
  std::size_t line_start_ = 0;
  std::size_t flushed_bytes_ = 0;
  std::uint64_t dropped_lines_ = 0;
  bool line_is_too_long_ = false;
  int error_ = 0;
};

}  // namespace heldby::watch
