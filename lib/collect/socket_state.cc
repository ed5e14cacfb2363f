#include "collect/socket_state.h"

#include <arpa/inet.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <string_view>

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

std::size_t FormatAddress(const sockaddr* address, std::uint32_t size_bytes,
                          char (&text)[kAddressTextBytes]) {
  const auto put = [&text](std::string_view part, std::size_t at = 0) {
    const std::size_t size = std::min(part.size(), kAddressTextBytes - at);
    memcpy(text + at, part.data(), size);
    return at + size;
  };
  const auto put_number = [&text](std::uint32_t number, std::size_t at) {
    return static_cast<std::size_t>(
        std::to_chars(text + at, text + kAddressTextBytes, number).ptr - text);
  };
  if (size_bytes < sizeof(sa_family_t)) return 0;
  if (address->sa_family == AF_INET && size_bytes >= sizeof(sockaddr_in)) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(address);
    // Not inet_ntop, which is vfprintf inside: a page has ten thousand of them.
    const std::uint32_t host = ntohl(v4->sin_addr.s_addr);
    std::size_t at = 0;
    for (const int shift : {24, 16, 8, 0}) {
      at = put(shift == 0 ? ":" : ".", put_number(host >> shift & 255, at));
    }
    return put_number(ntohs(v4->sin_port), at);
  }
  if (address->sa_family == AF_INET6 && size_bytes >= sizeof(sockaddr_in6)) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(address);
    char host[INET6_ADDRSTRLEN] = {};
    inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
    return put_number(ntohs(v6->sin6_port), put("]:", put(host, put("["))));
  }
  if (address->sa_family != AF_UNIX) return 0;
  const auto* unix_address = reinterpret_cast<const sockaddr_un*>(address);
  const std::size_t length =
      std::min<std::size_t>(size_bytes, sizeof(sockaddr_un)) - offsetof(sockaddr_un, sun_path);
  if (size_bytes <= offsetof(sockaddr_un, sun_path)) return put("unix");
  if (unix_address->sun_path[0] == '\0') {
    return put({unix_address->sun_path + 1, length - 1}, put("unix:@"));
  }
  return put({unix_address->sun_path, strnlen(unix_address->sun_path, length)}, put("unix:"));
}

std::string AddressText(const sockaddr* address, std::uint32_t size_bytes) {
  char text[kAddressTextBytes];
  return {text, FormatAddress(address, size_bytes, text)};
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

SocketFinding FindProblem(const SocketState& socket) {
  if (!socket.known) return {};
  if (!socket.is_tcp) {
    // A unix socket keeps no times: what waits is all there is to say.
    if (socket.unsent_bytes > 0) return {ConnectionProblem::kPeerStoppedReading};
    if (socket.unread_bytes > 0) return {ConnectionProblem::kWeStoppedReading};
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
    return {ConnectionProblem::kPeerDead, acknowledged_ms};
  }
  if (socket.notsent_bytes > 0 && sent_ms >= kStalledMs) {
    return {ConnectionProblem::kPeerStoppedReading, sent_ms};
  }
  if (socket.tcp_state == kCloseWait) {
    // The end itself carries no data: what it does renew is the time of the last packet.
    return {ConnectionProblem::kClosedByPeer, std::min(received_ms, acknowledged_ms)};
  }
  if (socket.unread_bytes > 0 && received_ms >= kStalledMs) {
    return {ConnectionProblem::kWeStoppedReading, received_ms};
  }
  if (socket.tcp_state == kEstablished && socket.unsent_bytes == 0 &&
      socket.unread_bytes == 0) {
    const std::int64_t idle_ms = std::min(sent_ms, received_ms);
    if (idle_ms >= kStalledMs) return {.idle_ms = idle_ms};
  }
  return {};
}

SocketVerdict Judge(const SocketState& socket) {
  const SocketFinding found = FindProblem(socket);
  SocketVerdict verdict = {.problem = found.problem, .stalled_ms = found.stalled_ms};
  switch (found.problem) {
    case ConnectionProblem::kNone:
      verdict.is_idle = found.idle_ms > 0;
      verdict.idle_ms = found.idle_ms;
      if (verdict.is_idle) verdict.text = absl::StrCat("idle for ", Seconds(found.idle_ms));
      break;
    case ConnectionProblem::kPeerDead:
      verdict.text =
          absl::StrCat("peer or path dead: no answer for ", Seconds(found.stalled_ms), " with ",
                       socket.unsent_bytes, " bytes unacknowledged");
      break;
    case ConnectionProblem::kPeerStoppedReading:
      // What the peer of a unix socket has not read is counted by the kernel with its own
      // overhead.
      verdict.text =
          !socket.is_tcp
              ? absl::StrCat("peer has not read, ", socket.unsent_bytes, " bytes of buffers")
              : absl::StrCat("peer stopped reading for ", Seconds(found.stalled_ms), " with ",
                             socket.unsent_bytes, " bytes unsent");
      break;
    case ConnectionProblem::kClosedByPeer:
      verdict.text = absl::StrCat("closed by the peer but not by us",
                                  socket.unread_bytes > 0
                                      ? absl::StrCat(", ", socket.unread_bytes, " bytes unread")
                                      : std::string());
      break;
    case ConnectionProblem::kWeStoppedReading:
      verdict.text = !socket.is_tcp
                         ? absl::StrCat("we have not read ", socket.unread_bytes, " bytes")
                         : absl::StrCat("we stopped reading for ", Seconds(found.stalled_ms),
                                        " with ", socket.unread_bytes, " bytes waiting");
      break;
  }
  return verdict;
}

}  // namespace heldby::collect
