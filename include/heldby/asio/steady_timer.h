// heldby/asio/steady_timer.h - a timer whose waiting coroutine is seen to sleep.
//
// Threads  as boost::asio::steady_timer.
// Signals  unsafe.
// Self     as heldby/task.h.
// Units    those of std::chrono.
// Source   docs/holders.md.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <utility>

#include "heldby/asio/wait.h"

namespace heldby::asio {

class steady_timer : public boost::asio::steady_timer {
 public:
  using boost::asio::steady_timer::steady_timer;

  template <typename Token>
  auto async_wait(Token&& token) {
    static const PlaceId kSleep = detail::InternWait("sleep");
    return detail::Initiate<void(boost::system::error_code)>(
        std::forward<Token>(token), kSleep, [this](auto&& handler) {
          this->boost::asio::steady_timer::async_wait(std::forward<decltype(handler)>(handler));
        });
  }
};

}  // namespace heldby::asio
