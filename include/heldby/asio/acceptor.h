// heldby/asio/acceptor.h - an acceptor whose sockets are known as they come.
//
// Threads  as boost::asio::basic_socket_acceptor.
// Signals  unsafe.
// Self     as heldby/asio/socket.h.
// Units    none.
// Source   docs/holders.md.
#pragma once

#include <boost/asio/basic_socket_acceptor.hpp>
#include <utility>

#include "heldby/asio/socket.h"

namespace heldby::asio {
namespace detail {

template <typename Socket, typename Handler>
struct AcceptHandler {
  Handler handler;

  template <typename Accepted>
  void operator()(const boost::system::error_code& error, Accepted&& accepted) {
    std::move(handler)(error, Socket(std::forward<Accepted>(accepted)));
  }
};

}  // namespace detail

template <typename Protocol>
class acceptor : public boost::asio::basic_socket_acceptor<Protocol> {
  using Base = boost::asio::basic_socket_acceptor<Protocol>;

 public:
  using Base::Base;
  using socket_type = tracked<typename Protocol::socket>;

  socket_type accept() { return socket_type(Base::accept()); }
  socket_type accept(boost::system::error_code& error) {
    return socket_type(Base::accept(error));
  }

  template <typename Token>
  auto async_accept(Token&& token) {
    static const PlaceId kAccept = detail::InternWait("IO wait: accept");
    return detail::Initiate<void(boost::system::error_code, socket_type)>(
        std::forward<Token>(token), kAccept, [this](auto&& handler) {
          this->Base::async_accept(
              detail::AcceptHandler<socket_type, std::decay_t<decltype(handler)>>{
                  std::forward<decltype(handler)>(handler)});
        });
  }
};

using tcp_acceptor = acceptor<boost::asio::ip::tcp>;
using local_acceptor = acceptor<boost::asio::local::stream_protocol>;

}  // namespace heldby::asio

template <template <typename, typename> class Associator, typename Socket, typename Handler,
          typename Default>
struct boost::asio::associator<Associator, heldby::asio::detail::AcceptHandler<Socket, Handler>,
                               Default>
    : heldby::asio::detail::AssociatedAsInner<
          Associator, heldby::asio::detail::AcceptHandler<Socket, Handler>, Default> {};
