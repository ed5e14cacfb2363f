// profile/dump_format.h - the words of a dump and of a black box: what lib/watch writes and
// exporters/pprof/dump.h reads.
//
// Threads  any.   Signals  safe.   Allocates  never.
// Units    bytes; ages in seconds, times in nanoseconds since the epoch.
// Source   docs/oom.md. Both are text: whoever has `less` and nothing else reads the beginning,
//          and a file that was cut is read up to the cut.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace heldby::dump {

/// The first line begins so. For people up to kRecordsHeading, one record a line after it:
///   p BYTES                     mean sampling distance
///   n NANOSECONDS               when, since the epoch
///   m START LIMIT OFFSET BUILDID PATH
///   c ID in|out open|ended HELD AGE PEER STATE
///   t ID open|ended HELD AGE CONNECTION NAME STATE
///   s ID CLASS OBJECTS BYTES whole|cut LABELS FRAME...
///   h SITE CONNECTION TASK BYTES OBJECTS sure|guessed
///   d COUNT WHAT                left out
///   e                           the end: without it, the dump was cut
/// Addresses are in hexadecimal, return addresses, innermost first; one of code that is no
/// longer there has a "!" before it. A text that is missing is "-".
inline constexpr std::string_view kMagic = "heldby dump 1 ";
inline constexpr std::string_view kRecordsHeading = "--- records: heldby convert reads them";

/// Of a text field and of labels (KEY=VALUE,KEY=VALUE): these are written as %XX.
constexpr bool IsEscaped(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte <= 0x20 || byte == 0x7f || c == '%' || c == ',' || c == '=';
}

/// A black box is two halves, written in turns. Each: a heading of kBoxHeadingBytes,
///   heldby box 1 SEQUENCE BYTES SUM
/// and a dump of BYTES bytes. The half with the larger sequence whose sum is right counts.
inline constexpr std::string_view kBoxMagic = "heldby box 1 ";
inline constexpr std::size_t kBoxHeadingBytes = 64;
inline constexpr std::size_t kBoxHalfBytes = 64 << 10;
inline constexpr std::size_t kBoxBytes = 2 * kBoxHalfBytes;

/// FNV-1a of the sequence and the dump.
constexpr std::uint64_t BoxSum(std::uint64_t sequence, std::string_view bytes) {
  constexpr std::uint64_t kPrime = 0x100000001b3;
  std::uint64_t sum = (0xcbf29ce484222325 ^ sequence) * kPrime;
  for (const char c : bytes) sum = (sum ^ static_cast<unsigned char>(c)) * kPrime;
  return sum;
}

}  // namespace heldby::dump
