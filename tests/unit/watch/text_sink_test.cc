#include "watch/text_sink.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>

namespace heldby::watch {
namespace {

std::string Content(int fd) {
  std::string bytes(static_cast<std::size_t>(lseek(fd, 0, SEEK_END)), '\0');
  EXPECT_EQ(pread(fd, bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  return bytes;
}

TEST(TextSink, NumbersAreWrittenAsPeopleReadThem) {
  char buffer[256];
  TextSink sink(-1, buffer, sizeof(buffer), SIZE_MAX);
  sink.Number(-7).Text(" ").Number(42, 5).Text(" ").Hex(0xbeef).Text(" ").Tenths(123);
  ASSERT_TRUE(sink.EndLine());
  EXPECT_EQ(std::string(buffer, sink.bytes()), "-7    42 beef 12.3\n");
}

TEST(TextSink, WhatWouldEndAFieldIsEscaped) {
  char buffer[256];
  TextSink sink(-1, buffer, sizeof(buffer), SIZE_MAX);
  sink.Escaped("a b\n%=,").Text(" ").Escaped("").Text(" ").Escaped("-").EndLine();
  EXPECT_EQ(std::string(buffer, sink.bytes()), "a%20b%0a%25%3d%2c - %2d\n");
}

TEST(TextSink, ALineThatDoesNotFitIsLeftOutWholeAndCounted) {
  char buffer[64];
  TextSink sink(-1, buffer, sizeof(buffer), 20);
  EXPECT_TRUE(sink.Text("first").EndLine());
  EXPECT_FALSE(sink.Text("a line that is too long").EndLine());
  EXPECT_TRUE(sink.Text("last").EndLine());
  EXPECT_EQ(std::string(buffer, sink.bytes()), "first\nlast\n");
  EXPECT_EQ(sink.dropped_lines(), 1u);
}

TEST(TextSink, LinesThatPassTheBufferGoToTheFileInOrder) {
  const int fd = memfd_create("lines", MFD_CLOEXEC);
  char buffer[64];
  TextSink sink(fd, buffer, sizeof(buffer), SIZE_MAX);
  std::string expected;
  for (int i = 0; i < 1000; ++i) {
    sink.Text("line ").Number(i).EndLine();
    expected += "line " + std::to_string(i) + "\n";
  }
  EXPECT_FALSE(sink.Text(std::string(65, 'x')).EndLine());
  sink.Text("end").EndLine();
  sink.Flush();
  EXPECT_EQ(Content(fd), expected + "end\n");
  EXPECT_EQ(sink.bytes(), expected.size() + 4);
  EXPECT_EQ(sink.dropped_lines(), 1u);
  close(fd);
}

TEST(TextSink, AWriteThatFailsIsRememberedAndNothingFollows) {
  const int fd = memfd_create("full", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  ASSERT_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
  char buffer[16];
  TextSink sink(fd, buffer, sizeof(buffer), SIZE_MAX);
  for (int i = 0; i < 10; ++i) sink.Text("0123456").EndLine();
  sink.Flush();
  EXPECT_EQ(sink.error(), EPERM);
  EXPECT_EQ(Content(fd), "");
  close(fd);
}

}  // namespace
}  // namespace heldby::watch
