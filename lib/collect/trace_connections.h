// collect/trace_connections.h - connections in a trace, from their beginning to their end.
//
// Threads  one at a time.   Signals  unsafe: allocates.
//
// What a connection was is known for sure only at its end: its peer, and whether the program
// made it known itself. So its arguments are those of the end.
#pragma once

#include <string>

#include "collect/trace_log.h"
#include "collect/trace_writer.h"
#include "profile/flat_hash.h"

namespace heldby::collect {

class TracedConnections {
 public:
  explicit TracedConnections(TraceWriter* writer) : writer_(writer) {}

  /// `state`: the program's, or nullptr.
  void Begin(std::uint32_t id, bool is_outbound, const char* state, TraceArguments arguments);
  /// `opened_by`: a task, in words.
  void OnEnd(const core::Event& event, const std::string& opened_by);
  void OnState(const core::Event& event);
  void OnPeer(const core::Event& event);
  /// One that is open at the end of the trace.
  void EndOpen(const TracedConnection& open, const std::string& opened_by);
  void EndAll();

 private:
  static constexpr std::size_t kPartBytes = 12;  // of a peer, in an event
  struct Known {
    TraceLife life;
    unsigned char peer[2 * kPartBytes] = {};
    std::uint32_t peer_bytes = 0;
  };
  struct About {
    const std::string& peer;
    int fd;
    bool is_implicit;
    std::uint32_t labels;
    const std::string& opened_by;
  };
  [[nodiscard]] TraceArguments ArgumentsOf(const About& about);

  TraceWriter* const writer_;
  FlatHashMap<std::uint32_t, Known> connections_;
};

}  // namespace heldby::collect
