// collect/census.h - connections and tasks counted, a part at a time.
//
// Threads  one at a time.   Signals  unsafe: allocates.
// Self     the caller holds an UnsampledScope.
// Units    bytes, nanoseconds, as named.
// Source   docs/metrics.md.
//
// Ten thousand connections are twenty milliseconds of questions to the kernel: not for every
// scrape. So the tables are walked in parts, as much as there is time for, and what was found
// is shown when a walk is complete. Nothing is locked: who comes or goes meanwhile is counted
// or not, as in any walk of these tables.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>

#include "collect/holders.h"
#include "core/core.h"
#include "profile/flat_hash.h"

namespace heldby::collect {

/// What a connection is doing, by the words of /debug/connections.
enum class ConnectionState {
  kActive,
  kIdle,
  kPeerStoppedReading,
  kPeerDead,
  kWeStoppedReading,
  kClosedByPeer,
  kUnknown,  // no socket that can be asked
};
inline constexpr int kConnectionStates = 7;
[[nodiscard]] const char* StateName(ConnectionState state);

struct ConnectionCount {
  std::int64_t connections = 0;
  std::int64_t held_bytes = 0;  // heap charged to them
};

/// Of one direction.
struct ConnectionCensus {
  std::array<ConnectionCount, kConnectionStates> by_state{};
  ConnectionCount ended{};  // gone, and memory is still charged to them
  std::int64_t queued_bytes = 0;
  std::int64_t unsent_bytes = 0;
  std::int64_t unread_bytes = 0;
  std::int64_t oldest_age_ns = 0;
};

struct TaskCount {
  std::int64_t tasks = 0;
  std::int64_t oldest_age_ns = 0;
};

struct CensusResult {
  std::uint64_t taken_ns = 0;  // of the registry's clock; 0: not yet
  ConnectionCensus inbound{};
  ConnectionCensus outbound{};
  /// By name and what it waits for ("running" where it does not).
  FlatHashMap<std::pair<std::string, std::string>, TaskCount> tasks{};
  std::int64_t task_held_bytes = 0;
  std::int64_t ended_task_held_bytes = 0;
  std::int64_t ended_tasks = 0;
};

class Census {
 public:
  explicit Census(const core::RegistryApi& registry) : registry_(registry), texts_(registry) {}

  /// Goes on for about `allowance_ns`, to the end of the walk at most; the first walk of all is
  /// always completed.
  void Advance(std::uint64_t allowance_ns);

  /// Of the last complete walk.
  [[nodiscard]] const CensusResult& result() const { return result_; }

 private:
  enum class Stage { kTasks, kConnections };

  /// True: that was the last one of a walk.
  bool Step();
  void Add(const core::TaskView& task);
  void Add(const core::ConnectionView& connection);
  void Finish();

  // Names are looked up once for each pair of places, not for each task.
  struct PlacePair {
    std::uint32_t made;
    std::uint32_t parked;
    bool running;
    bool operator==(const PlacePair&) const = default;
    template <typename H>
    friend H AbslHashValue(H hash, const PlacePair& pair) {
      return H::combine(std::move(hash), pair.made, pair.parked, pair.running);
    }
  };

  const core::RegistryApi& registry_;
  PlaceTexts texts_;
  CensusResult result_{};
  CensusResult walk_{};
  FlatHashMap<PlacePair, TaskCount> tasks_{};
  std::uint64_t now_ns_ = 0;
  Stage stage_ = Stage::kTasks;
  std::uint32_t next_ = 0;
};

}  // namespace heldby::collect
