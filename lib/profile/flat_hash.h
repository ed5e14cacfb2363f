// profile/flat_hash.h - Abseil's flat tables, for programs that run out of memory.
//
// Threads  as the standard's containers.
// Signals  unsafe: allocates.
// Source   raw_hash_set::resize() of Abseil (20220623) sets the new capacity before it
//          allocates: if that throws, the destructor frees what was never allocated, and the
//          host is aborted. Here a table that has to grow is made beside the old one.
#pragma once

#include <algorithm>
#include <cstddef>
#include <new>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"

namespace heldby {

/// Insertions and reserve() either succeed or leave the table as it was. The other ways to grow
/// (copies, merge(), rehash()) are Abseil's, and so is what they do without memory.
template <typename Table>
class GrowsAside : public Table {
 public:
  using Table::Table;
  using typename Table::key_type;

  GrowsAside() = default;
  template <typename Iterator>
  GrowsAside(Iterator first, Iterator last) {
    insert(first, last);
  }

  template <typename... Args>
  auto emplace(Args&&... args) {
    MakeRoom(this->size() + 1);
    return Table::emplace(std::forward<Args>(args)...);
  }
  template <typename Key = key_type, typename... Args>
  auto try_emplace(Key&& key, Args&&... args) {
    MakeRoom(this->size() + 1);
    return Table::try_emplace(std::forward<Key>(key), std::forward<Args>(args)...);
  }
  template <typename Value = typename Table::init_type>
  auto insert(Value&& value) {
    MakeRoom(this->size() + 1);
    return Table::insert(std::forward<Value>(value));
  }
  template <typename Iterator>
  void insert(Iterator first, Iterator last) {
    for (; first != last; ++first) insert(*first);
  }
  template <typename Key = key_type>
  auto& operator[](Key&& key) {
    MakeRoom(this->size() + 1);
    return Table::operator[](std::forward<Key>(key));
  }
  void reserve(std::size_t count) { MakeRoom(count); }

 private:
  // Abseil grows in an insertion if more than 25/32 of the places are taken, or if there are at
  // most 16.
  static constexpr std::size_t kLeast = 20;  // has 31 places

  void MakeRoom(std::size_t count) {
    if (count * 32 <= this->capacity() * 25) return;
    // Not destroyed where reserve() throws: it owns nothing then, and does not know it.
    union Aside {
      Aside() {}
      ~Aside() {}
      Table table;
    } aside;
    new (&aside.table) Table(0, this->hash_function(), this->key_eq());
    aside.table.reserve(std::max(count * 2, kLeast));
    for (auto at = this->begin(); at != this->end();) aside.table.insert(this->extract(at++));
    static_cast<Table&>(*this) = std::move(aside.table);
    aside.table.~Table();
  }
};

template <typename Key, typename Value>
using FlatHashMap = GrowsAside<absl::flat_hash_map<Key, Value>>;
template <typename Key, typename... Rest>
using FlatHashSet = GrowsAside<absl::flat_hash_set<Key, Rest...>>;

}  // namespace heldby
