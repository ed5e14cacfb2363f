#include "core/registry/label_table.h"

#include <string.h>

namespace heldby::core {
namespace {

struct Piece {
  const char* begin;
  std::size_t size;
};

Piece Cut(const char* text) { return {text, strnlen(text, kMaxLabelBytes)}; }

bool Less(const Piece& a, const Piece& b) {
  const std::size_t common = a.size < b.size ? a.size : b.size;
  const int order = memcmp(a.begin, b.begin, common);
  return order != 0 ? order < 0 : a.size < b.size;
}
bool Same(const Piece& a, const Piece& b) {
  return a.size == b.size && memcmp(a.begin, b.begin, a.size) == 0;
}

// A set under construction, sorted by key.
struct Builder {
  Piece keys[kMaxLabels];
  Piece values[kMaxLabels];
  int count = 0;

  void Put(const char* key, const char* value) {
    const Piece piece = Cut(key);
    int at = 0;
    while (at < count && Less(keys[at], piece)) ++at;
    if (at == count || !Same(keys[at], piece)) {
      if (count == kMaxLabels) return;
      memmove(keys + at + 1, keys + at, static_cast<std::size_t>(count - at) * sizeof(Piece));
      memmove(values + at + 1, values + at,
              static_cast<std::size_t>(count - at) * sizeof(Piece));
      ++count;
      keys[at] = piece;
    }
    values[at] = Cut(value);
  }
};

}  // namespace

std::uint32_t LabelTable::Merge(std::uint32_t outer, const Label* labels, int count) {
  Builder builder;
  Visit(
      outer,
      [](void* context, const char* key, const char* value) {
        static_cast<Builder*>(context)->Put(key, value);
      },
      &builder);
  for (int i = 0; i < count; ++i) builder.Put(labels[i].key, labels[i].value);
  if (builder.count == 0) return 0;

  alignas(Set) char room[sizeof(Set) + kMaxLabels * 2 * (kMaxLabelBytes + 1)];
  Set& wanted = *reinterpret_cast<Set*>(room);
  char* end = wanted.text;
  const auto append = [&end](const Piece& piece) {
    memcpy(end, piece.begin, piece.size);
    end[piece.size] = '\0';
    end += piece.size + 1;
  };
  for (int i = 0; i < builder.count; ++i) {
    append(builder.keys[i]);
    append(builder.values[i]);
  }
  wanted.text_bytes = static_cast<std::uint32_t>(end - wanted.text);
  wanted.hash = 0xcbf29ce484222325u;
  for (const char* at = wanted.text; at != end; ++at) {
    wanted.hash = (wanted.hash ^ static_cast<unsigned char>(*at)) * 0x100000001b3u;
  }
  return Intern(wanted);
}

std::uint32_t LabelTable::Find(std::uint32_t from, std::uint32_t until,
                               const Set& wanted) const {
  for (std::uint32_t at = from; at != until;) {
    const auto& set = *static_cast<const Set*>(arena_.At(at));
    if (set.hash == wanted.hash && set.text_bytes == wanted.text_bytes &&
        memcmp(set.text, wanted.text, wanted.text_bytes) == 0) {
      return at;
    }
    at = set.next;
  }
  return 0;
}

std::uint32_t LabelTable::Intern(const Set& wanted) {
  std::atomic<std::uint32_t>& bucket = buckets_[wanted.hash % kBuckets];
  std::uint32_t head = bucket.load(std::memory_order_acquire);
  if (const std::uint32_t found = Find(head, 0, wanted)) return found;
  std::uint32_t id = arena_.Allocate(sizeof(Set) + wanted.text_bytes);
  // The first block of an arena has the id that stands for "other": it is given away.
  if (id == kOtherLabels) id = arena_.Allocate(sizeof(Set) + wanted.text_bytes);
  if (id == 0) {
    dropped_.fetch_add(1, std::memory_order_relaxed);
    return kOtherLabels;
  }
  auto* set = static_cast<Set*>(arena_.At(id));
  set->text_bytes = wanted.text_bytes;
  set->hash = wanted.hash;
  memcpy(set->text, wanted.text, wanted.text_bytes);
  for (;;) {
    set->next = head;
    const std::uint32_t seen = head;
    if (bucket.compare_exchange_strong(head, id, std::memory_order_acq_rel)) {
      published_.fetch_add(1, std::memory_order_release);
      return id;
    }
    if (const std::uint32_t found = Find(head, seen, wanted)) return found;
  }
}

void LabelTable::Visit(std::uint32_t id,
                       void (*visit)(void* context, const char* key, const char* value),
                       void* context) const {
  (void)published_.load(std::memory_order_acquire);
  if (id == 0) return;
  if (id == kOtherLabels) {
    visit(context, "other", "true");
    return;
  }
  const auto& set = *static_cast<const Set*>(arena_.At(id));
  for (const char* at = set.text; at < set.text + set.text_bytes;) {
    const char* value = at + strlen(at) + 1;
    visit(context, at, value);
    at = value + strlen(value) + 1;
  }
}

}  // namespace heldby::core
