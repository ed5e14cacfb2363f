// watch/black_box.h - a file that says what was held a moment before the process was killed.
//
// Threads  one.
// Signals  unsafe.
// Allocates  never.
// Units    bytes.
// Bounds   dump::kBoxBytes.
// Source   profile/dump_format.h. What write() has taken is the kernel's, and outlives a
// SIGKILL.
//          The pages are mapped, too, and locked if that is allowed: they are there when they
//          are written, and cost the control group nothing new when it has nothing left. They
//          are written through the descriptor, since a store into a mapped file is a SIGBUS
//          when the disk is full or somebody cut the file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "profile/dump_format.h"
#include "watch/dump_folder.h"
#include "watch/owned_file.h"

namespace heldby::watch {

class BlackBox {
 public:
  static constexpr std::size_t kTextBytes = dump::kBoxHalfBytes - dump::kBoxHeadingBytes;

  BlackBox() = default;
  BlackBox(const BlackBox&) = delete;
  BlackBox& operator=(const BlackBox&) = delete;

  /// `mark`: for DumpFolder::RemoveEarlierBox(), until the first text is there. The name is
  /// there when the file is locked and has the mark in it. False: errno says why.
  bool Create(const DumpFolder& folder, std::int64_t pid, std::int64_t time_seconds,
              std::string_view mark);

  /// Where the next text goes: kTextBytes.
  char* text() { return half_ + dump::kBoxHeadingBytes; }
  /// Its first `bytes` bytes become what the box says. False: errno says why.
  bool Publish(std::size_t bytes);

  const char* name() const { return name_.text; }  // until it has it, NAME.partial

  /// The file goes too, if it is still this one.
  void Remove(const DumpFolder& folder);
  /// The file stays.
  void Close();

 private:
  bool Fill(std::string_view mark);
  bool Rename(const DumpFolder& folder, const FileName& name);
  void Map();

  OwnedFile file_;
  void* mapped_ = nullptr;
  std::uint64_t sequence_ = 0;
  std::size_t last_bytes_[2] = {};
  FileName name_;
  char half_[dump::kBoxHalfBytes];
};

}  // namespace heldby::watch
