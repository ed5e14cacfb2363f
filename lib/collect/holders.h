// collect/holders.h - connections and tasks out of the core's tables, with what the kernel
// knows.
//
// Threads  any.   Signals  unsafe: allocates, some 5 us a connection.
// Units    as in heldby/connection.h and heldby/task.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "core/core.h"
#include "heldby/connection.h"
#include "heldby/profile.h"
#include "heldby/task.h"
#include "profile/flat_hash.h"

namespace heldby::collect {

/// The texts of places, each read once: a million tasks are made in a few.
class PlaceTexts {
 public:
  struct Texts {
    std::string text;
    std::string file;
    std::string function;
    std::uint32_t line;
  };
  explicit PlaceTexts(const core::RegistryApi& registry) : registry_(registry) {}
  /// Valid until the next call.
  const Texts& Of(std::uint32_t place_id);

 private:
  const core::RegistryApi& registry_;
  FlatHashMap<std::uint32_t, Texts> known_;
};

using Labels = std::vector<std::pair<std::string, std::string>>;

[[nodiscard]] Labels LabelsOf(const core::RegistryApi& registry, std::uint32_t id);
/// The same as labels of a profile, each name once, under the names of
/// ProfileLabelName().
[[nodiscard]] std::vector<Label> UserLabels(const core::RegistryApi& registry,
                                            std::uint32_t id);
/// One of them, with what the kernel knows of its socket. `now_ns`: RegistryApi::now_ns().
[[nodiscard]] ConnectionInfo InfoOf(const core::RegistryApi& registry,
                                    const core::ConnectionView& view, std::uint64_t now_ns);
[[nodiscard]] TaskInfo InfoOf(const core::RegistryApi& registry, const core::TaskView& view,
                              std::uint64_t now_ns, PlaceTexts* texts);
[[nodiscard]] std::vector<ConnectionInfo> CollectConnections(const core::RegistryApi& registry);
/// Those that hold most, then the oldest.
[[nodiscard]] std::vector<TaskInfo> CollectTasks(
    const core::RegistryApi& registry,
    std::size_t most = std::numeric_limits<std::size_t>::max());

}  // namespace heldby::collect
