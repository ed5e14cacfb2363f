#include "collect/trace_connections.h"

#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "collect/socket_state.h"

namespace heldby::collect {

using core::Event;

void TracedConnections::Begin(std::uint32_t id, bool is_outbound, const char* state,
                              TraceArguments arguments) {
  arguments.emplace_back("connection", absl::StrCat(id));
  const std::uint32_t name =
      writer_->Text(is_outbound ? "outbound connection" : "inbound connection");
  Known& known = connections_[id];
  known = {.life = writer_->BeginLife(TraceSubject::kConnection, 0, name, arguments)};
  if (state != nullptr) writer_->SetState(&known.life, 0, writer_->TextAt(state));
}

TraceArguments TracedConnections::ArgumentsOf(const About& about) {
  TraceArguments arguments;
  if (!about.peer.empty()) arguments.emplace_back("peer", about.peer);
  if (about.fd >= 0) arguments.emplace_back("fd", absl::StrCat(about.fd));
  if (about.is_implicit) arguments.emplace_back("known_by", "a wrapped call");
  if (!about.opened_by.empty()) arguments.emplace_back("opened_by", about.opened_by);
  writer_->AddLabels(about.labels, &arguments);
  return arguments;
}

void TracedConnections::OnEnd(const Event& event, const std::string& opened_by) {
  const auto found = connections_.find(event.id);
  if (found == connections_.end()) return;
  Known& known = found->second;
  sockaddr_storage address{};
  static_assert(sizeof(known.peer) <= sizeof(address));
  memcpy(&address, known.peer, sizeof(known.peer));
  const std::string peer =
      AddressText(reinterpret_cast<const sockaddr*>(&address), known.peer_bytes);
  writer_->EndLife(&known.life, event.tid,
                   ArgumentsOf({.peer = peer,
                                .fd = static_cast<std::int32_t>(event.a),
                                .is_implicit = (event.flags & Event::kImplicit) != 0,
                                .labels = event.c,
                                .opened_by = opened_by}));
  connections_.erase(found);
}

void TracedConnections::OnState(const Event& event) {
  const auto found = connections_.find(event.id);
  if (found == connections_.end()) return;
  const std::uintptr_t address = std::uintptr_t{event.b} << 32 | event.a;
  writer_->SetState(&found->second.life, event.tid,
                    writer_->TextAt(reinterpret_cast<const char*>(address)));
}

void TracedConnections::OnPeer(const Event& event) {
  const auto found = connections_.find(event.id);
  if (found == connections_.end()) return;
  Known& known = found->second;
  const std::uint32_t part[] = {event.a, event.b, event.c};
  static_assert(sizeof(part) == kPartBytes);
  memcpy(known.peer + ((event.flags & Event::kRest) != 0 ? kPartBytes : 0), part, kPartBytes);
  known.peer_bytes = std::min<std::uint32_t>(event.place, sizeof(core::PeerAddress::bytes));
}

void TracedConnections::EndOpen(const TracedConnection& open, const std::string& opened_by) {
  const auto found = connections_.find(open.view.id);
  if (found == connections_.end()) return;
  TraceArguments arguments = ArgumentsOf({.peer = open.peer,
                                          .fd = open.view.fd,
                                          .is_implicit = open.view.implicit,
                                          .labels = open.view.labels,
                                          .opened_by = opened_by});
  arguments.emplace_back(kTraceAfter);
  writer_->EndLife(&found->second.life, 0, arguments);
  connections_.erase(found);
}

void TracedConnections::EndAll() {
  for (const std::uint32_t id : SortedKeys(connections_)) {
    writer_->EndLife(&connections_[id].life, 0, {kTraceAfter});
  }
  connections_.clear();
}

}  // namespace heldby::collect
