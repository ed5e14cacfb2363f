#include "collect/socket_state.h"

#include <arpa/inet.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace heldby::collect {
namespace {

// linux/tcp.h and netinet/tcp.h do not go together; the states are the kernel's numbers.
constexpr std::uint8_t kEstablished = 1;
constexpr std::uint8_t kCloseWait = 8;

// Less than this is the ordinary breathing of a connection.
constexpr std::int64_t kStalledMs = 1000;
constexpr std::int64_t kAnswerMs = 200;  // a round trip, and an answer that is held back

std::uint64_t Ask(int fd, unsigned long what) {
  int value = 0;
  return ioctl(fd, what, &value) == 0 && value > 0 ? static_cast<std::uint64_t>(value) : 0;
}

// No cookie: it was no socket when it was made known, and what it is now is somebody else's.
bool IsSocket(int fd, std::uint64_t cookie) {
  std::uint64_t now = 0;
  socklen_t size = sizeof(now);
  return fd >= 0 && cookie != 0 && getsockopt(fd, SOL_SOCKET, SO_COOKIE, &now, &size) == 0 &&
         now == cookie;
}

template <int (*kFunction)(int, sockaddr*, socklen_t*)>
std::string NameBy(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  return kFunction(fd, generic, &size) == 0
             ? AddressText(generic, std::min<socklen_t>(size, sizeof(address)))
             : std::string();
}

void ReadTcp(int fd, SocketState* state) {
  tcp_info info{};
  socklen_t size = sizeof(info);
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return;
  state->is_tcp = true;
  state->tcp_state = info.tcpi_state;
  state->notsent_bytes = info.tcpi_notsent_bytes;
  state->unacked_segments = info.tcpi_unacked;
  state->backoff = info.tcpi_backoff;
  state->retransmits = info.tcpi_retransmits;
  state->last_data_sent_ms = info.tcpi_last_data_sent;
  state->last_data_received_ms = info.tcpi_last_data_recv;
  state->last_ack_received_ms = info.tcpi_last_ack_recv;
}

std::string Seconds(std::int64_t ms) { return absl::StrCat(ms / 1000, " s"); }

}  // namespace

std::string AddressText(const sockaddr* address, std::uint32_t size_bytes) {
  if (size_bytes < sizeof(sa_family_t)) return {};
  if (address->sa_family == AF_INET && size_bytes >= sizeof(sockaddr_in)) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(address);
    // Not inet_ntop, which is vfprintf inside: a page has ten thousand of them.
    const std::uint32_t host = ntohl(v4->sin_addr.s_addr);
    return absl::StrCat(host >> 24, ".", host >> 16 & 255, ".", host >> 8 & 255, ".",
                        host & 255, ":", ntohs(v4->sin_port));
  }
  if (address->sa_family == AF_INET6 && size_bytes >= sizeof(sockaddr_in6)) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(address);
    char text[INET6_ADDRSTRLEN] = {};
    inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof(text));
    return absl::StrCat("[", text, "]:", ntohs(v6->sin6_port));
  }
  if (address->sa_family != AF_UNIX) return {};
  const auto* unix_address = reinterpret_cast<const sockaddr_un*>(address);
  const std::size_t length =
      std::min<std::size_t>(size_bytes, sizeof(sockaddr_un)) - offsetof(sockaddr_un, sun_path);
  if (size_bytes <= offsetof(sockaddr_un, sun_path)) return "unix";
  if (unix_address->sun_path[0] == '\0') {
    return absl::StrCat("unix:@", absl::string_view(unix_address->sun_path + 1, length - 1));
  }
  return absl::StrCat("unix:", absl::string_view(unix_address->sun_path,
                                                 strnlen(unix_address->sun_path, length)));
}

namespace {

SocketState Read(int fd, std::uint64_t cookie, bool with_names) {
  SocketState state;
  if (!IsSocket(fd, cookie)) return state;
  if (with_names) {
    state.peer = NameBy<&getpeername>(fd);
    state.local = NameBy<&getsockname>(fd);
  }
  ReadTcp(fd, &state);
  // TCP has told already that there is nothing: a call saved for each connection at rest.
  const bool all_acknowledged =
      state.is_tcp && state.notsent_bytes == 0 && state.unacked_segments == 0;
  if (!all_acknowledged) state.unsent_bytes = Ask(fd, SIOCOUTQ);
  state.unread_bytes = Ask(fd, SIOCINQ);
  // The descriptor may have become another socket between two of these calls.
  if (!IsSocket(fd, cookie)) return {};
  state.known = true;
  return state;
}

}  // namespace

SocketState ReadSocket(int fd, std::uint64_t cookie) { return Read(fd, cookie, true); }
SocketState ReadSocketQueues(int fd, std::uint64_t cookie) { return Read(fd, cookie, false); }

SocketVerdict Judge(const SocketState& socket) {
  if (!socket.known) return {};
  if (!socket.is_tcp) {
    // A unix socket keeps no times: what waits is all there is to say. What the peer has not
    // read is counted by the kernel with its own overhead.
    if (socket.unsent_bytes > 0) {
      return {ConnectionProblem::kPeerStoppedReading,
              absl::StrCat("peer has not read, ", socket.unsent_bytes, " bytes of buffers")};
    }
    if (socket.unread_bytes > 0) {
      return {ConnectionProblem::kWeStoppedReading,
              absl::StrCat("we have not read ", socket.unread_bytes, " bytes")};
    }
    return {};
  }
  const std::int64_t sent_ms = socket.last_data_sent_ms;
  const std::int64_t received_ms = socket.last_data_received_ms;
  const std::int64_t acknowledged_ms = socket.last_ack_received_ms;
  // A peer that takes nothing but lives answers what is sent again and again, and each time
  // says that it has no room: then the last answer is younger than the last thing sent.
  const bool unanswered = acknowledged_ms > sent_ms + kAnswerMs;
  if (socket.unacked_segments > 0 && (socket.retransmits > 0 || socket.backoff > 0) &&
      unanswered && acknowledged_ms >= kStalledMs) {
    return {ConnectionProblem::kPeerDead,
            absl::StrCat("peer or path dead: no answer for ", Seconds(acknowledged_ms),
                         " with ", socket.unsent_bytes, " bytes unacknowledged"),
            acknowledged_ms};
  }
  if (socket.notsent_bytes > 0 && sent_ms >= kStalledMs) {
    return {ConnectionProblem::kPeerStoppedReading,
            absl::StrCat("peer stopped reading for ", Seconds(sent_ms), " with ",
                         socket.unsent_bytes, " bytes unsent"),
            sent_ms};
  }
  if (socket.tcp_state == kCloseWait) {
    const std::string unread = socket.unread_bytes > 0
                                   ? absl::StrCat(", ", socket.unread_bytes, " bytes unread")
                                   : std::string();
    // The end itself carries no data: what it does renew is the time of the last packet.
    return {ConnectionProblem::kClosedByPeer,
            absl::StrCat("closed by the peer but not by us", unread),
            std::min(received_ms, acknowledged_ms)};
  }
  if (socket.unread_bytes > 0 && received_ms >= kStalledMs) {
    return {ConnectionProblem::kWeStoppedReading,
            absl::StrCat("we stopped reading for ", Seconds(received_ms), " with ",
                         socket.unread_bytes, " bytes waiting"),
            received_ms};
  }
  if (socket.tcp_state == kEstablished && socket.unsent_bytes == 0 &&
      socket.unread_bytes == 0) {
    const std::int64_t idle_ms = std::min(sent_ms, received_ms);
    if (idle_ms >= kStalledMs) {
      return {.text = absl::StrCat("idle for ", Seconds(idle_ms)),
              .is_idle = true,
              .idle_ms = idle_ms};
    }
  }
  return {};
}

}  // namespace heldby::collect
