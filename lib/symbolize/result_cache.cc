#include "symbolize/result_cache.h"

namespace heldby::symbolize {
namespace {

std::size_t TextBytes(const std::string& text) {
  return text.capacity() < 16 ? 0 : text.capacity() + 16;  // short ones live in the object
}

std::size_t SizeOf(const Frames& frames) {
  // Twice a slot: the table grows by doubling. Then the shared block and the vector.
  std::size_t bytes = 2 * (sizeof(ResultCache::Key) + sizeof(std::shared_ptr<Frames>)) + 64;
  for (const Frame& frame : frames) {
    bytes += sizeof(Frame) + TextBytes(frame.name) + TextBytes(frame.system_name) +
             TextBytes(frame.filename);
  }
  return bytes;
}

}  // namespace

std::shared_ptr<const Frames> ResultCache::Find(const Key& key) {
  if (const auto it = young_.map.find(key); it != young_.map.end()) return it->second;
  const auto it = old_.map.find(key);
  if (it == old_.map.end()) return nullptr;
  std::shared_ptr<const Frames> frames = std::move(it->second);
  old_.size_bytes -= SizeOf(*frames);
  old_.map.erase(it);
  Insert(key, frames);
  return frames;
}

void ResultCache::Insert(const Key& key, std::shared_ptr<const Frames> frames) {
  const std::size_t bytes = SizeOf(*frames);
  if (bytes > half_bytes_) return;
  if (young_.size_bytes + bytes > half_bytes_) {
    old_ = std::move(young_);
    young_ = {};
  }
  if (const auto it = old_.map.find(key); it != old_.map.end()) {
    old_.size_bytes -= SizeOf(*it->second);
    old_.map.erase(it);
  }
  const auto [it, is_new] = young_.map.try_emplace(key, nullptr);
  if (!is_new) young_.size_bytes -= SizeOf(*it->second);
  it->second = std::move(frames);
  young_.size_bytes += bytes;
}

}  // namespace heldby::symbolize
