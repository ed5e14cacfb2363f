#include "exporters/report/graph.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "profile/arithmetic.h"
#include "profile/flat_hash.h"

namespace heldby::report {
namespace {

constexpr std::size_t kNotKept = std::numeric_limits<std::size_t>::max();

using KeySet = FlatHashSet<NodeKey>;

struct Edge {
  std::int64_t weight = 0;
  bool is_inline = true;
  std::size_t last_sample = kNotKept;
};

std::uint64_t Magnitude(std::int64_t value) {
  return value < 0 ? 0 - static_cast<std::uint64_t>(value) : static_cast<std::uint64_t>(value);
}

std::string CleanPath(const std::string& path) {
  if (path.empty()) return {};
  std::string clean = std::filesystem::path(path).lexically_normal().string();
  while (clean.size() > 1 && clean.back() == '/') clean.pop_back();
  return clean;
}

std::string BaseName(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  if (path == "/") return path;
  return path.substr(path.rfind('/') + 1);
}

// One pass over the samples; rows outside `kept` are skipped over.
class Builder {
 public:
  Builder(const Profile& profile, std::size_t column, const KeySet* kept)
      : profile_(profile), column_(column), kept_(kept) {
    rows_.reserve(profile.locations.size());
    for (const Location& location : profile.locations) {
      std::vector<std::size_t>& rows = rows_.emplace_back();
      for (NodeKey& key : KeysOf(profile, location)) rows.push_back(Row(std::move(key)));
    }
  }

  std::vector<Node> Build(const GraphOptions& options, std::uint64_t edge_cutoff) {
    seen_.assign(nodes_.size(), kNotKept);
    for (std::size_t i = 0; i < profile_.samples.size(); ++i) Add(i);
    for (const auto& [ends, edge] : edges_) {
      if (Magnitude(edge.weight) < edge_cutoff) continue;
      Node& callee = nodes_[ends.second];
      (edge.is_inline ? callee.is_inlined : callee.is_called) = true;
    }
    std::erase_if(nodes_, [&options](const Node& node) {
      const bool is_negative = node.flat < 0 || (node.flat == 0 && node.cum < 0);
      return (node.cum == 0 && node.flat == 0) || (options.drop_negative && is_negative);
    });
    return std::move(nodes_);
  }

 private:
  std::size_t Row(NodeKey key) {
    if (kept_ != nullptr && !kept_->contains(key)) return kNotKept;
    const auto [it, is_new] = row_by_key_.try_emplace(key, nodes_.size());
    if (is_new) {
      std::string text = PrintableName(key);
      nodes_.push_back({.key = std::move(key), .text = std::move(text)});
    }
    return it->second;
  }

  void Add(std::size_t index);

  const Profile& profile_;
  const std::size_t column_;
  const KeySet* kept_;
  std::vector<Node> nodes_;
  FlatHashMap<NodeKey, std::size_t> row_by_key_;
  std::vector<std::vector<std::size_t>> rows_;                    // by location
  FlatHashMap<std::pair<std::size_t, std::size_t>, Edge> edges_;  // caller, callee
  std::vector<std::size_t> seen_;  // by row: the last sample it was in
};

void Builder::Add(std::size_t index) {
  const Sample& sample = profile_.samples[index];
  const std::int64_t value = sample.values[column_];
  if (value == 0) return;
  std::size_t parent = kNotKept;
  bool is_leaf_missing = false;
  for (std::size_t i = sample.stack.size(); i-- > 0;) {
    const auto& rows = rows_[static_cast<std::size_t>(sample.stack[i]) - 1];
    for (std::size_t line = rows.size(); line-- > 0;) {
      const std::size_t row = rows[line];
      is_leaf_missing = row == kNotKept;
      if (is_leaf_missing) continue;
      if (seen_[row] != index) nodes_[row].cum = SaturatingAdd(nodes_[row].cum, value);
      seen_[row] = index;
      if (parent != kNotKept && parent != row) {
        Edge& edge = edges_[{parent, row}];
        if (edge.last_sample != index) {
          edge.last_sample = index;
          edge.weight = SaturatingAdd(edge.weight, value);
          edge.is_inline = edge.is_inline && line + 1 != rows.size();
        }
      }
      parent = row;
    }
  }
  if (parent != kNotKept && !is_leaf_missing) {
    nodes_[parent].flat = SaturatingAdd(nodes_[parent].flat, value);
  }
}

// What a Go structure prints as; orders rows that nothing else tells apart.
std::string TieBreaker(const NodeKey& key) {
  return absl::StrCat("{", key.name, "  ", key.address, " ", key.file, " ", key.start_line, " ",
                      key.line, " ", key.object, "}");
}

void Sort(std::vector<Node>* nodes, bool by_cum) {
  std::sort(nodes->begin(), nodes->end(), [by_cum](const Node& a, const Node& b) {
    const std::uint64_t first_a = Magnitude(by_cum ? a.cum : a.flat);
    const std::uint64_t first_b = Magnitude(by_cum ? b.cum : b.flat);
    if (first_a != first_b) return first_a > first_b;
    if (a.text != b.text) return a.text < b.text;
    const std::uint64_t second_a = Magnitude(by_cum ? a.flat : a.cum);
    const std::uint64_t second_b = Magnitude(by_cum ? b.flat : b.cum);
    if (second_a != second_b) return second_a > second_b;
    return TieBreaker(a.key) < TieBreaker(b.key);
  });
}

std::uint64_t Cutoff(std::int64_t total, double fraction) {
  return Magnitude(SaturatingCast(static_cast<double>(total) * fraction));
}

}  // namespace

std::string PrintableName(const NodeKey& key) {
  std::string text;
  const auto add = [&text](const std::string& part) {
    if (!text.empty()) text += ' ';
    text += part;
  };
  if (key.address != 0) add(absl::StrFormat("%016x", key.address));
  if (!key.name.empty()) add(key.name);
  if (key.line != 0) {
    add(absl::StrCat(key.file, ":", key.line));
  } else if (!key.file.empty()) {
    add(key.file);
  } else if (key.name.empty()) {
    add(key.object.empty() ? "<unknown>" : absl::StrCat("[", BaseName(key.object), "]"));
  }
  return text;
}

std::vector<NodeKey> KeysOf(const Profile& profile, const Location& location) {
  std::string object;
  if (location.mapping != MappingId::kNone) {
    object = profile.mappings[static_cast<std::size_t>(location.mapping) - 1].filename;
  }
  std::vector<NodeKey> keys;
  if (location.lines.empty()) {
    keys.push_back({.object = object, .address = location.address});
  }
  for (const Line& line : location.lines) {
    const Function& function = profile.functions[static_cast<std::size_t>(line.function) - 1];
    NodeKey key = {.name = function.name,
                   .file = CleanPath(function.filename),
                   .address = location.address,
                   .line = line.line};
    if (key.name.empty()) {
      key.object = object;
      key.start_line = function.start_line;
    }
    keys.push_back(std::move(key));
  }
  return keys;
}

Graph BuildGraph(const Profile& profile, const GraphOptions& options) {
  Graph graph;
  graph.nodes = Builder(profile, options.column, nullptr).Build(options, 0);
  std::int64_t total = 0;
  for (const Node& node : graph.nodes) total = SaturatingAdd(total, node.flat);
  const std::uint64_t node_cutoff = Cutoff(total, options.node_fraction);
  const std::uint64_t edge_cutoff = Cutoff(total, options.edge_fraction);

  // Rows that go leave their value with nobody, and their callers with edges to their callees:
  // hence each time from the samples. Rows that only -drop_negative hides stay as callers.
  const auto rebuild = [&](std::size_t limit, std::uint64_t cutoff) {
    KeySet kept;
    for (std::size_t i = 0; i < std::min(limit, graph.nodes.size()); ++i) {
      if (Magnitude(graph.nodes[i].cum) >= cutoff) kept.insert(graph.nodes[i].key);
    }
    const bool is_smaller = kept.size() < graph.nodes.size();
    graph.nodes = Builder(profile, options.column, is_smaller ? &kept : nullptr)
                      .Build(options, edge_cutoff);
  };
  const std::size_t before = graph.nodes.size();
  rebuild(before, node_cutoff);
  graph.dropped_by_cum = before - graph.nodes.size();
  graph.original_count = graph.nodes.size();
  Sort(&graph.nodes, options.sort_by_cum);
  if (options.node_count > 0 && graph.nodes.size() > options.node_count) {
    rebuild(options.node_count, 0);
    Sort(&graph.nodes, options.sort_by_cum);
  }
  return graph;
}

}  // namespace heldby::report
