// symbolize/wire.h - what the host and `heldby-symbolizer` say to each other.
//
// Threads  any.
// Signals  unsafe: allocates.
// Bounds   16 MiB either way, 256 modules, 2^16 addresses, 256 frames each, 64 KiB a text.
//          Whatever breaks one of them ends the reading there.
// Source   both ends come from one build, so words are native. Request:
//            magic, modules { file fd, debug fd or -1, count, addresses }
//          Answer: one record per address, as they are found, so that what was said before a
//          crash still counts; then a record of no frames for module kEnd:
//            module, address index, frames { line, start line, three texts }
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "symbolize/frames.h"

namespace heldby::symbolize {

inline constexpr std::size_t kMaxWireBytes = 16 << 20;
inline constexpr std::size_t kMaxWireModules = 256;
inline constexpr std::size_t kMaxWireAddresses = 1 << 16;
inline constexpr std::size_t kMaxWireFrames = 256;

/// The descriptors are numbers in the helper, which inherits them.
struct WireModule {
  std::int32_t file_fd = -1;
  std::int32_t debug_fd = -1;
  std::vector<std::uint64_t> vaddrs;  // ascending
};

[[nodiscard]] std::string EncodeRequest(std::span<const WireModule> modules);

/// False: not a request, or out of bounds.
[[nodiscard]] bool DecodeRequest(const std::string& bytes, std::vector<WireModule>* modules);

/// Frame::name is the name in DWARF, Frame::system_name the linkage name there, if any.
[[nodiscard]] std::string EncodeRecord(std::uint32_t module, std::uint32_t address,
                                       const Frames& frames);
[[nodiscard]] std::string EncodeEnd();

/// Hands on each complete record. True iff the answer was whole: it came to its end record.
bool DecodeAnswer(std::span<const char> bytes,
                  const std::function<void(std::uint32_t module, std::uint32_t address,
                                           Frames frames)>& take);

}  // namespace heldby::symbolize
