// heldby/asio/channel.h - Asio's channels, whose waiting coroutines say so.
//
// Threads  as the channel of boost::asio::experimental that each is derived from.
// Signals  unsafe.
// Self     as heldby/task.h.
// Units    none.
// Source   docs/holders.md.
#pragma once

#include <boost/asio/experimental/channel.hpp>
#include <boost/asio/experimental/concurrent_channel.hpp>
#include <tuple>
#include <utility>

#include "heldby/asio/wait.h"

namespace heldby::asio {
namespace detail {

template <typename Base, typename Signature>
class Channel;

template <typename Base, typename... Values>
class Channel<Base, void(Values...)> : public Base {
 public:
  using Base::Base;

  template <typename Token>
  auto async_receive(Token&& token) {
    static const PlaceId kReceive = InternWait("chan receive");
    return Initiate<void(Values...)>(
        std::forward<Token>(token), kReceive, [this](auto&& handler) {
          this->Base::async_receive(std::forward<decltype(handler)>(handler));
        });
  }

  template <typename Token>
  auto async_send(Values... values, Token&& token) {
    static const PlaceId kSend = InternWait("chan send");
    return Initiate<void(boost::system::error_code)>(
        std::forward<Token>(token), kSend,
        [this, sent = std::make_tuple(std::move(values)...)](auto&& handler) mutable {
          std::apply(
              [&](auto&... value) {
                this->Base::async_send(std::move(value)...,
                                       std::forward<decltype(handler)>(handler));
              },
              sent);
        });
  }
};

}  // namespace detail

/// Of one signature, void(boost::system::error_code, Values...).
template <typename Signature>
using channel = detail::Channel<boost::asio::experimental::channel<Signature>, Signature>;
template <typename Signature>
using concurrent_channel =
    detail::Channel<boost::asio::experimental::concurrent_channel<Signature>, Signature>;

}  // namespace heldby::asio
