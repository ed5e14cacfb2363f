// profile/interner.h - a table in which every value stands once and is named by its position.
//
// Threads  one at a time.
// Signals  unsafe: allocates.
// Units    ids are positions plus one, as in heldby/profile.h.
// Source   the hash set holds ids only and compares through the table, so each value (and its
//          strings) is stored once. The set points into this object: it does not move.
#pragma once

#include <cstddef>
#include <cstdint>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/hash/hash.h"
#include "heldby/profile.h"
#include "profile/flat_hash.h"

namespace heldby {

inline bool operator==(const Line& a, const Line& b) {
  return a.function == b.function && a.line == b.line;
}
template <typename H>
H AbslHashValue(H state, const Line& line) {
  return H::combine(std::move(state), line.function, line.line);
}
template <typename H>
H AbslHashValue(H state, const Label& label) {
  return H::combine(std::move(state), label.key, label.text, label.number, label.number_unit);
}

// What makes two entries the same entry.
inline auto IdentityOf(const Mapping& m) {
  return std::tie(m.start, m.limit, m.file_offset, m.filename, m.build_id);
}
inline auto IdentityOf(const Function& f) {
  return std::tie(f.name, f.system_name, f.filename, f.start_line);
}
inline auto IdentityOf(const Location& l) { return std::tie(l.mapping, l.address, l.lines); }
inline auto IdentityOf(const Sample& s) { return std::tie(s.stack, s.labels); }

template <typename T>
class Interner {
 public:
  Interner() = default;
  Interner(const Interner&) = delete;
  Interner& operator=(const Interner&) = delete;

  /// The id of the entry equal to `value`, made now if there was none.
  std::uint32_t Intern(T value) {
    if (auto it = ids_.find(value); it != ids_.end()) return *it;
    table_.push_back(std::move(value));
    const auto id = static_cast<std::uint32_t>(table_.size());
    ids_.insert(id);
    return id;
  }

  /// What is not part of the identity may be changed through this.
  T& at(std::uint32_t id) { return table_[id - 1]; }
  std::size_t size() const { return table_.size(); }

  /// Leaves the interner empty.
  std::vector<T> Take() {
    ids_.clear();
    return std::exchange(table_, {});
  }

 private:
  struct Hash {
    using is_transparent = void;
    const std::vector<T>* table;
    std::size_t operator()(const T& value) const {
      return std::apply([](const auto&... parts) { return absl::HashOf(parts...); },
                        IdentityOf(value));
    }
    std::size_t operator()(std::uint32_t id) const { return (*this)((*table)[id - 1]); }
  };
  struct Equal {
    using is_transparent = void;
    const std::vector<T>* table;
    bool operator()(std::uint32_t a, std::uint32_t b) const { return a == b; }
    bool operator()(std::uint32_t id, const T& value) const {
      return IdentityOf((*table)[id - 1]) == IdentityOf(value);
    }
    bool operator()(const T& value, std::uint32_t id) const { return (*this)(id, value); }
  };

  std::vector<T> table_;
  FlatHashSet<std::uint32_t, Hash, Equal> ids_{0, Hash{&table_}, Equal{&table_}};
};

}  // namespace heldby
