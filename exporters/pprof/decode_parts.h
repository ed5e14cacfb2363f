// exporters/pprof/decode_parts.h - what the decoder reads with: numbers, ids, complaints.
//
// Threads  one at a time.
// Signals  unsafe: allocates.
// Source   ids in files are any distinct numbers but 0; ours are positions plus one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <protozero/pbf_message.hpp>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "profile/flat_hash.h"
#include "profile/text.h"

namespace heldby {

// Thrown and caught inside the decoder only, as protozero's own exceptions are.
struct Malformed : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct TooLarge : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Ids of one table of the file -> ours.
class IdMap {
 public:
  explicit IdMap(const char* kind) : kind_(kind) {}

  void Add(std::uint64_t id) {
    if (id == 0) throw Malformed(Concat("a ", kind_, " has id 0"));
    if (!dense_.try_emplace(id, static_cast<std::uint32_t>(dense_.size() + 1)).second) {
      throw Malformed(Concat("two of kind ", kind_, " have id ", id));
    }
  }

  /// 0 if there is none.
  std::uint32_t Find(std::uint64_t id) const {
    const auto it = dense_.find(id);
    return it == dense_.end() ? 0 : it->second;
  }

  std::uint32_t Get(std::uint64_t id) const {
    const std::uint32_t dense = Find(id);
    if (dense == 0) throw Malformed(Concat(kind_, " ", id, " does not exist"));
    return dense;
  }

  std::size_t size() const { return dense_.size(); }

 private:
  const char* kind_;
  FlatHashMap<std::uint64_t, std::uint32_t> dense_;
};

template <typename Message>
using Reader = protozero::pbf_message<Message>;

inline std::string_view AsView(protozero::data_view view) { return {view.data(), view.size()}; }

// Repeated numbers come packed or one by one; readers must take both.
template <typename Message, typename Add>
void ReadNumbers(Reader<Message>* message, Add add) {
  if (message->wire_type() == protozero::pbf_wire_type::length_delimited) {
    for (std::uint64_t number : message->get_packed_uint64()) add(number);
  } else {
    add(message->get_uint64());
  }
}

/// The last value of `id_field`; 0 if the message has none.
template <typename Message, typename Field>
std::uint64_t IdOf(Reader<Message> in, Field id_field) {
  std::uint64_t id = 0;
  while (in.next()) {
    if (in.tag() == id_field) {
      id = in.get_uint64();
    } else {
      in.skip();
    }
  }
  return id;
}

}  // namespace heldby
