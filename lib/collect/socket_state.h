// collect/socket_state.h - what the kernel knows of a socket, and what that means.
//
// Threads  any.   Signals  unsafe: what returns a text allocates, and nothing else.
// Units    bytes, milliseconds, as named.
// Source   TCP_INFO (linux/tcp.h), SIOCOUTQ, SIOCINQ, SO_COOKIE; the rules in docs/holders.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "heldby/connection.h"

struct sockaddr;

namespace heldby::collect {

struct SocketState {
  bool known = false;  // false: not a socket, closed, or another socket by now
  bool is_tcp = false;
  std::string peer{};
  std::string local{};
  std::uint8_t tcp_state = 0;       // TCP_ESTABLISHED, ...
  std::uint64_t unsent_bytes = 0;   // SIOCOUTQ: for TCP what the peer has not acknowledged
  std::uint64_t notsent_bytes = 0;  // of those, what has not even been sent: TCP only
  std::uint64_t unread_bytes = 0;
  std::uint32_t unacked_segments = 0;
  std::uint32_t backoff = 0;
  std::uint32_t retransmits = 0;
  std::uint32_t last_data_sent_ms = 0;
  std::uint32_t last_data_received_ms = 0;
  std::uint32_t last_ack_received_ms = 0;
};

/// `cookie`: SO_COOKIE of the socket that is meant; 0: none is, and nothing is asked.
[[nodiscard]] SocketState ReadSocket(int fd, std::uint64_t cookie);
/// The same without the addresses, at half the cost.
[[nodiscard]] SocketState ReadSocketQueues(int fd, std::uint64_t cookie);

/// "127.0.0.1:80", "[::1]:80", "unix:/path", "unix:@abstract", "unix"; empty: not known.
[[nodiscard]] std::string AddressText(const sockaddr* address, std::uint32_t size_bytes);

/// The longest of them: a path, or an IPv6 address.
inline constexpr std::size_t kAddressTextBytes = 128;
/// The same into a buffer; returns the size.
std::size_t FormatAddress(const sockaddr* address, std::uint32_t size_bytes,
                          char (&text)[kAddressTextBytes]);

/// What the figures support, without words.
struct SocketFinding {
  ConnectionProblem problem = ConnectionProblem::kNone;
  std::int64_t stalled_ms = 0;  // 0: nothing is
  std::int64_t idle_ms = 0;     // 0: it is not
};
[[nodiscard]] SocketFinding FindProblem(const SocketState& socket);

struct SocketVerdict {
  ConnectionProblem problem = ConnectionProblem::kNone;
  std::string text{};           // empty: nothing to say
  std::int64_t stalled_ms = 0;  // 0: nothing is
  bool is_idle = false;
  std::int64_t idle_ms = 0;
};

/// In plain words, and only what the figures support.
[[nodiscard]] SocketVerdict Judge(const SocketState& socket);

}  // namespace heldby::collect
