// exporters/report/graph.h - who called whom, and with how much: the rows of a report.
//
// Threads  any.
// Signals  unsafe: allocates.
// Units    those of the column.
// Source   pprof's rules: a function counts once per sample however often it is on the stack
//          (recursion), an edge likewise, and the leaf's value is its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "heldby/profile.h"
#include "profile/flat_hash.h"

namespace heldby::report {

/// What makes two frames the same row.
struct NodeKey {
  std::string name{};
  std::string file{};
  std::string object{};  // the mapping, where there is no name
  std::uint64_t address = 0;
  std::int64_t line = 0;
  std::int64_t start_line = 0;

  bool operator==(const NodeKey&) const = default;
  template <typename H>
  friend H AbslHashValue(H h, const NodeKey& key) {
    return H::combine(std::move(h), key.name, key.file, key.object, key.address, key.line,
                      key.start_line);
  }
};

/// As it stands in a report.
[[nodiscard]] std::string PrintableName(const NodeKey& key);

struct Node {
  NodeKey key{};
  std::string text{};  // PrintableName(key)
  std::int64_t flat = 0;
  std::int64_t cum = 0;
  bool is_inlined = false;  // by some caller
  bool is_called = false;   // by some caller, not inlined
};

struct GraphOptions {
  std::size_t column = 0;
  std::size_t node_count = 0;  // 0: all
  double node_fraction = 0;
  double edge_fraction = 0;
  bool sort_by_cum = false;
  bool drop_negative = false;
};

struct Graph {
  std::vector<Node> nodes;         // sorted
  std::size_t original_count = 0;  // before node_count
  std::size_t dropped_by_cum = 0;  // below node_fraction
};

[[nodiscard]] Graph BuildGraph(const Profile& profile, const GraphOptions& options);

/// The rows that one location becomes, innermost first.
[[nodiscard]] std::vector<NodeKey> KeysOf(const Profile& profile, const Location& location);

}  // namespace heldby::report
