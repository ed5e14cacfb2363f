#include "watch/verdict_text.h"

#include <string.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace heldby::watch {
namespace {

struct Kept {
  // Odd while it is being written. Whoever has read something new from below reads the new
  // version after it, too.
  std::atomic<std::uint32_t> version{0};
  std::atomic<std::uint32_t> bytes{0};
  // Words, so that a copy beside a write is a defined race, which the version gives away.
  std::atomic<std::uint64_t> words[kVerdictBytes / 8] = {};
};
Kept kept[2];
std::atomic<std::uint32_t> latest{0};

}  // namespace

void SetVerdictText(std::string_view text) {
  if (text.size() > kVerdictBytes) {
    text = text.substr(0, kVerdictBytes);
    text = text.substr(0, std::min(text.size(), text.rfind('\n') + 1));
  }
  const std::uint32_t next = 1 - latest.load(std::memory_order_relaxed);
  Kept& to = kept[next];
  to.version.fetch_add(1, std::memory_order_relaxed);
  for (std::size_t at = 0; at < text.size(); at += 8) {
    std::uint64_t word = 0;
    memcpy(&word, text.data() + at, std::min<std::size_t>(8, text.size() - at));
    to.words[at / 8].store(word, std::memory_order_release);
  }
  to.bytes.store(static_cast<std::uint32_t>(text.size()), std::memory_order_release);
  to.version.fetch_add(1, std::memory_order_release);
  latest.store(next, std::memory_order_release);
}

std::size_t CopyVerdictText(std::span<char, kVerdictBytes> text) {
  const Kept& from = kept[latest.load(std::memory_order_acquire)];
  const std::uint32_t version = from.version.load(std::memory_order_acquire);
  if (version % 2 != 0) return 0;
  const std::size_t bytes =
      std::min<std::size_t>(from.bytes.load(std::memory_order_acquire), kVerdictBytes);
  for (std::size_t at = 0; at < bytes; at += 8) {
    const std::uint64_t word = from.words[at / 8].load(std::memory_order_acquire);
    memcpy(text.data() + at, &word, std::min<std::size_t>(8, bytes - at));
  }
  return from.version.load(std::memory_order_relaxed) == version ? bytes : 0;
}

}  // namespace heldby::watch
