// core/registry/place_table.h - every distinct place in the source with a word on it, once,
// named by a 32-bit id: "download, made in Serve() at server.cc:41".
//
// Threads  any, lock-free.   Signals  safe.   Allocates  never.   errno kept.
// Bounds   kCapacity different places ever; one beyond them is 0, the empty place, and
//          dropped() grows. 786 KB of address space, of which used is touched.
//
// A task's record would need five words for the place that made it and five more for the one
// where it waits; a program has as many places as it has lines that make or park tasks. Texts
// are told apart by address, as literals are: a text twice at two addresses is two places.
#pragma once

#include <atomic>
#include <cstdint>

namespace heldby::core {

/// All of them the program's, and gone when the library they stand in is unloaded.
struct Place {
  const char* text;  // a task's name, or what it waits for
  const char* file;
  const char* function;
  std::uint32_t line;

  bool operator==(const Place&) const = default;
};

class PlaceTable {
 public:
  static constexpr std::uint32_t kCapacity = 1 << 14;

  constexpr PlaceTable() = default;

  std::uint32_t Intern(const Place& place);
  Place Get(std::uint32_t id) const;  // the empty one for 0, and for what is no id

  std::uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }

 private:
  static constexpr std::uint32_t kBuckets = 2 * kCapacity;
  static constexpr std::uint32_t kProbes = 64;

  Place places_[kCapacity] = {};  // [0] is the empty one
  std::atomic<std::uint16_t> index_[kBuckets] = {};
  std::atomic<std::uint32_t> used_{0};  // without [0]
  std::atomic<std::uint64_t> dropped_{0};
};

}  // namespace heldby::core
