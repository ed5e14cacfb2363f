// collect/holder_index.h - the part of each heap site that a connection or a task holds.
//
// Threads  one.   Signals  unsafe: allocates.   Units  bytes; objects in 1/4096.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/core.h"
#include "heldby/connection.h"
#include "heldby/heap.h"
#include "heldby/profile.h"
#include "profile/flat_hash.h"

namespace heldby::collect {

struct HeldPart {
  std::vector<Label> labels{};
  std::uint64_t bytes = 0;
  std::uint64_t objects = 0;
};

class HolderIndex {
 public:
  HolderIndex(const core::RegistryApi& registry, const HolderLabels& wanted)
      : registry_(registry), wanted_(wanted) {}

  /// Looks at every live sample that has a holder, once; nothing if no label is wanted.
  void Collect();

  /// The connections alone, for LabelsOfConnection(): as collected.
  std::vector<ConnectionInfo> NameConnections();
  std::span<const Label> LabelsOfConnection(std::uint32_t id) const;
  /// The same of tasks.
  void NameTasks();
  std::span<const Label> LabelsOfTask(std::uint32_t id) const;

  bool wanted() const { return wanted_.any(); }
  /// Of the site with this id (HeapSite::id).
  std::span<const HeldPart> PartsOf(std::uint32_t site) const;

 private:
  void Add(const core::LiveSampleView& sample);

  const core::RegistryApi& registry_;
  const HolderLabels wanted_;
  FlatHashMap<std::uint32_t, std::vector<Label>> connections_;
  FlatHashMap<std::uint32_t, std::vector<Label>> tasks_;
  FlatHashMap<std::uint32_t, std::vector<HeldPart>> parts_;
  FlatHashMap<std::string, std::size_t> part_of_;  // site and labels -> its place there
};

}  // namespace heldby::collect
