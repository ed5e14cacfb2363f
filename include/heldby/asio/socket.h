// heldby/asio/socket.h - sockets that are connections from connect or accept to their close.
//
// Threads  as the stream that each is derived from.
// Signals  unsafe.
// Self     what is kept beside a socket is never sampled.
// Allocates  one block for a socket that is open.
// Units    none.
// Bounds   those of heldby/connection.h.
// Source   docs/holders.md.
//
// A coroutine that waits for a connection while it works for none, works for that one from then
// on, until the connection is closed in it.
#pragma once

#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <cstddef>
#include <type_traits>
#include <utility>

#include "heldby/asio/socket_link.h"
#include "heldby/connection.h"

namespace heldby::asio {

/// `Stream`, known to the registry: a socket of Asio's, or boost::beast::tcp_stream. Beast's
/// algorithms, boost::asio::ssl::stream and websocket streams work on top, as they do on it.
template <typename Stream>
class tracked : public Stream {
  static auto& SocketOf(Stream& stream) {
    if constexpr (requires { stream.native_handle(); }) {
      return stream;
    } else {
      return stream.socket();
    }
  }
  static int DescriptorOf(Stream& stream) {
    return SocketOf(stream).is_open() ? SocketOf(stream).native_handle() : -1;
  }
  using Endpoint = typename std::decay_t<decltype(SocketOf(
      std::declval<Stream&>()))>::protocol_type::endpoint;

 public:
  using Stream::Stream;
  /// One that Asio's own acceptor has accepted.
  explicit tracked(Stream&& stream, Direction direction = Direction::kInbound)
      : Stream(std::move(stream)) {
    if (DescriptorOf(*this) >= 0) link_.Open(DescriptorOf(*this), direction);
  }
  tracked(tracked&&) noexcept(std::is_nothrow_move_constructible_v<Stream>) = default;
  tracked& operator=(tracked&& other) noexcept(std::is_nothrow_move_assignable_v<Stream>) {
    if (this == &other) return *this;
    link_ = {};  // before the descriptor goes
    Stream::operator=(std::move(other));
    link_ = std::move(other.link_);
    return *this;
  }
  ~tracked() = default;  // link_ first

  [[nodiscard]] ConnectionId connection_id() const { return link_.id(); }

  /// On the stack of this call, the connection is opened.
  template <typename Where = Endpoint, typename... Rest>
  [[gnu::always_inline]] auto connect(const Where& where, Rest&&... rest) {
    link_.Open(-1, Direction::kOutbound);
    const Settles settles{this};
    return Stream::connect(where, std::forward<Rest>(rest)...);
  }
  /// Likewise, wherever the operation is awaited. `where`: an endpoint, or for a Beast stream a
  /// range of them.
  template <typename Where = Endpoint, typename Token>
  [[gnu::always_inline]] auto async_connect(const Where& where, Token&& token) {
    constexpr bool kOne = std::is_convertible_v<const Where&, Endpoint>;
    using Signature = std::conditional_t<kOne, void(boost::system::error_code),
                                         void(boost::system::error_code, Endpoint)>;
    link_.Open(-1, Direction::kOutbound);
    return detail::Initiate<Signature>(
        std::forward<Token>(token), detail::SocketLink::PlaceOf(detail::kConnects),
        [this, where](auto&& handler) {
          this->Stream::async_connect(where,
                                      Connecting(std::forward<decltype(handler)>(handler)));
        });
  }

  template <typename Buffers, typename Token>
  auto async_read_some(const Buffers& buffers, Token&& token) {
    return detail::Initiate<void(boost::system::error_code, std::size_t)>(
        std::forward<Token>(token), detail::SocketLink::PlaceOf(detail::kReads),
        [this, buffers](auto&& handler) {
          this->Stream::async_read_some(buffers, Waiting(detail::kReads, handler));
        });
  }
  template <typename Buffers, typename Token>
  auto async_write_some(const Buffers& buffers, Token&& token) {
    return detail::Initiate<void(boost::system::error_code, std::size_t)>(
        std::forward<Token>(token), detail::SocketLink::PlaceOf(detail::kWrites),
        [this, buffers](auto&& handler) {
          this->Stream::async_write_some(buffers, Waiting(detail::kWrites, handler));
        });
  }

  template <typename... Arguments>
  auto close(Arguments&&... arguments) {
    link_ = {};
    return Stream::close(std::forward<Arguments>(arguments)...);
  }

  /// For algorithms that connect the socket by themselves; `handler` is the program's.
  template <typename Handler>
  auto Connecting(Handler&& handler) {
    link_.Open(-1, Direction::kOutbound);
    link_.Adopt();
    return detail::ConnectHandler<tracked, std::decay_t<Handler>>{
        this, link_.Starts(detail::kConnects), std::forward<Handler>(handler)};
  }
  /// The connection is what has become of connecting.
  void Settle() {
    if (detail::IsConnected(DescriptorOf(*this))) {
      link_.SetDescriptor(DescriptorOf(*this));
    } else {
      link_ = {};
    }
  }

 private:
  struct Settles {
    tracked* socket;
    ~Settles() { socket->Settle(); }
  };

  template <typename Handler>
  auto Waiting(detail::SocketWait wait, Handler& handler) {
    // One that was connected past connect() above.
    if (!link_ && DescriptorOf(*this) >= 0) {
      link_.Open(DescriptorOf(*this), Direction::kOutbound);
    }
    link_.Adopt();
    return detail::SocketHandler<std::decay_t<Handler>>{link_.Starts(wait), std::move(handler)};
  }

  detail::SocketLink link_;
};

using tcp_socket = tracked<boost::asio::ip::tcp::socket>;
using local_socket = tracked<boost::asio::local::stream_protocol::socket>;

/// As boost::asio::async_connect() and connect(), over a range of endpoints.
template <typename Stream, typename Endpoints, typename Token>
auto async_connect(tracked<Stream>& socket, const Endpoints& endpoints, Token&& token) {
  using Signature = void(boost::system::error_code, typename Stream::endpoint_type);
  return detail::Initiate<Signature>(
      std::forward<Token>(token), detail::SocketLink::PlaceOf(detail::kConnects),
      [&socket, endpoints](auto&& handler) {
        boost::asio::async_connect(static_cast<Stream&>(socket), endpoints,
                                   socket.Connecting(std::forward<decltype(handler)>(handler)));
      });
}

}  // namespace heldby::asio
